"""What a hostile pickle holds."""


class Call:
    """Pickled, it calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments
