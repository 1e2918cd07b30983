import jax

with jax.enable_x64(True):
    x = jax.numpy.float64(5e-310)  # below the smallest normal number
    print("2 x 5e-310 =", float(jax.jit(lambda x: 2 * x)(x)))
