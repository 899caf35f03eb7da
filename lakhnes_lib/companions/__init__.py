"""Other systems that compose for several instruments, beside LakhNES on the same music."""
