from vgg import Block, Conv, Spec, expand, totals

WIDTHS = 64, 128, 256, 512, 512
COUNTS = {
    "A": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}

columns = {
    name: tuple(Block.of(pair) for pair in zip(counts, WIDTHS, strict=True))
    for name, counts in COUNTS.items()
}
first = Block((Conv(64, lrn=True),))  # A-LRN is A with one normalisation
columns["A-LRN"] = (first, *columns["A"][1:])
small = [Block((*[Conv(n)] * 2, Conv(n, 1, padding=0))) for n in WIDTHS[2:]]
columns["C"] = (*columns["B"][:2], *small)  # C is B with three convolutions of 1x1

for name, blocks in sorted(columns.items()):
    layers = sum(len(block.convs) for block in blocks) + 3
    millions = totals(expand(Spec(blocks))).params / 1e6
    print(f"{name:6} {layers} layers {millions:6.1f} million parameters")
