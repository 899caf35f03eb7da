"""A pickle machine that builds plain values and runs nothing.

Paper: none; its published checkpoints are pickles (``legacy_pickle.py``). Notebook: 07_quantitative_analysis.
A pickle is a program for a small stack machine, and Python's own machine lets it call anything. This one obeys only the
instructions that build plain values. A class becomes its name, an object a ``Record`` of its class's name and
attributes. A call is handed to the caller, who knows the few that are needed and refuses the rest.
"""

import pickletools
from dataclasses import dataclass

from lakhnes_lib.errors import BadCheckpoint

LONGEST_ITEM, MOST_BYTES, MOST_INSTRUCTIONS = 2**20, 2**24, 2**18
"""Limits of one pickle: bytes of one string or number, bytes altogether, instructions."""
LONGEST_NAME = 200
"""Characters of a class's name or of a key: two short instructions could join long strings again and again."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(frozen=True)
class Name:
    """A class or function of the file, by name only."""

    path: str

    def __post_init__(self):
        if len(self.path) > LONGEST_NAME:
            raise BadCheckpoint(f"names a class with more than {LONGEST_NAME} characters")


@dataclass(eq=False)
class Record:
    """An object of the file: its class's name, and its attributes (a dict for modules)."""

    kind: str
    state: object = None


class _Bounded:
    """The file, as ``pickletools`` reads it, with the limits of one pickle."""

    def __init__(self, file):
        self.file, self.start = file, file.tell()

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int) -> bytes:
        if size > LONGEST_ITEM or self.tell() + size - self.start > MOST_BYTES:
            raise BadCheckpoint(
                f"holds an item or a pickle of more than {LONGEST_ITEM:,} or {MOST_BYTES:,} bytes"
            )
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(1000)  # only names stand on lines


class Machine:
    """Obeys the instructions of one pickle, as far as they build plain values.

    reference: makes a value of what a pickle says about something outside of it;
    call: makes a value of a function's or class's path and its arguments, a tuple.
    """

    def __init__(self, reference, call):
        self.reference, self.call = reference, call
        self.stack, self.below, self.memo = [], [], {}

    def run(self, file):
        """What the pickle that begins here in the binary file builds. Raises BadCheckpoint; or, of a damaged one,
        ValueError, IndexError, KeyError, TypeError."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(_Bounded(file))):
            if count > MOST_INSTRUCTIONS:
                raise BadCheckpoint(
                    f"holds a pickle of more than {MOST_INSTRUCTIONS:,} instructions"
                )
            if opcode.name == "STOP":
                return self.stack.pop()
            self._obey(opcode.name, argument)

    def _obey(self, instruction: str, argument) -> None:
        stack = self.stack
        match instruction:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                stack.append(_CONSTANTS[instruction])
            case (
                "BININT"
                | "BININT1"
                | "BININT2"
                | "LONG1"
                | "LONG4"
                | "BINFLOAT"
                | "BINUNICODE"
                | "SHORT_BINUNICODE"
            ):
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "EMPTY_LIST" | "EMPTY_DICT":
                stack.append([] if instruction == "EMPTY_LIST" else {})
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "TUPLE":
                self._above_mark(lambda items: self.stack.append(tuple(items)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(instruction[-1]))))
            case "APPEND":
                item = stack.pop()
                expect(stack[-1], list).append(item)
            case "APPENDS":
                self._above_mark(lambda items: expect(self.stack[-1], list).extend(items))
            case "SETITEM":
                fill(stack[-3], self._pop(2))
            case "SETITEMS":
                self._above_mark(lambda items: fill(self.stack[-1], items))
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GLOBAL":
                stack.append(Name(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(Name(".".join(expect(part, str) for part in self._pop(2))))
            case "BINPERSID":
                stack.append(self.reference(stack.pop()))
            case "NEWOBJ":
                kind, _ = self._pop(2)
                stack.append(Record(expect(kind, Name).path))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Record):
                    stack[-1].state = state
                elif not isinstance(
                    stack[-1], dict
                ):  # an ordered dict's own attributes are not needed
                    raise BadCheckpoint("sets attributes of something that has none")
            case "REDUCE":
                called, arguments = self._pop(2)
                stack.append(self.call(expect(called, Name).path, expect(arguments, tuple)))
            case _:
                raise BadCheckpoint(
                    f"uses the pickle instruction {instruction}, which no checkpoint needs"
                )

    def _pop(self, count: int) -> list:
        if len(self.stack) < count:
            raise BadCheckpoint("takes more from its stack than there is")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _above_mark(self, use) -> None:
        items, self.stack = self.stack, self.below.pop()
        use(items)


def expect(value, kind: type):
    """The value, if it is of the kind. Raises BadCheckpoint."""
    if not isinstance(value, kind):
        raise BadCheckpoint(f"has a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def fill(table, items: list) -> None:
    """Keys and values by turns into a dict.

    Keys are short strings or small whole numbers: the hash of nested tuples may take for ever, large numbers can be
    chosen to share one hash, and long strings are slow to compare.
    """
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (
            type(key) is str and len(key) <= LONGEST_NAME or type(key) is int and abs(key) < 2**31
        ):
            raise BadCheckpoint(
                f"has a dict with a {type(key).__name__} for a key, or with too long a key"
            )
        expect(table, dict)[key] = value
