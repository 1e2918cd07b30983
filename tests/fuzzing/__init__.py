"""Fuzzers: valid inputs of every file that a command reads, spoilt, and what the program makes of them.

Every input is made from (seed, kind, index) alone. It must end in success or in a ``VGGError`` with a short message.
"""
