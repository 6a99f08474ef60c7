"""What can go wrong with a store.

StoreError
├── StoreUnavailable     out of reach: file gone, disk full, locked too long, unfit file system, unknown format
├── Conflict             a compare-and-swap lost against another writer
└── LeaseLost            the lease has passed to another holder
    └── Fenced           a write under a lease that has passed to another holder
"""

from serinus.serving.errors import SerinusError


class StoreError(SerinusError):
    """Base of all errors of stores; its text is one sentence a person can act on."""


class StoreUnavailable(StoreError):
    """The store is out of reach or unfit; what was asked may or may not have been saved. Ask again later."""


class Conflict(StoreError):
    """Another writer changed it first; nothing was saved. Read it and decide again.

    `expected` and `found` are generations of a record, or revisions of a document.
    """

    def __init__(self, message: str, *, expected: int, found: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class LeaseLost(StoreError):
    """The lease has passed to another holder, or was released."""


class Fenced(LeaseLost):
    """A write under an old lease epoch; nothing was saved. Stop leading."""
