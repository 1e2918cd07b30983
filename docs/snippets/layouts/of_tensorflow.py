from keras import layers

conv, dense = layers.Conv2D(64, (5, 7)), layers.Dense(10)
conv.build((None, 32, 32, 3))
dense.build((None, 100))
print("convolution", conv.kernel.shape)
print("dense", dense.kernel.shape)
