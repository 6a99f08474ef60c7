"""What can go wrong with a rollout.

RolloutError
├── PlanInvalid          a plan's steps or window make no sense
├── FormatUnknown        stored text is of a format this release does not read, or is damaged
└── TransitionRefused    the event is not possible in the model's present phase
"""


from serinus.serving.errors import SerinusError


class RolloutError(SerinusError):
    """Base of all errors of rollouts; its text is one sentence a person can act on."""


class PlanInvalid(RolloutError, ValueError):
    """A plan whose steps or rollback window make no sense."""


class FormatUnknown(RolloutError, ValueError):
    """A stored plan or record that this release cannot read: a newer format, or damaged text."""


class TransitionRefused(RolloutError):
    """An event that is not possible now; nothing was changed.

    `phase` is where the model's rollout stands and `possible` names the verbs accepted there.
    """

    def __init__(self, message: str, *, phase: str, possible: tuple[str, ...]) -> None:
        super().__init__(message)
        self.phase = phase
        self.possible = possible
