"""The mistakes Vitrine can name. Every message says what happened, where, the numbers and the remedy.

`exit_status` is what the command line returns, and `is_retryable` tells an orchestrator whether
running the same thing again can help.
"""


class VitrineError(Exception):
    """Base of all errors that a user is meant to read; anything else is a defect of Vitrine."""

    exit_status = 1
    is_retryable = True


class DataError(VitrineError):
    """The shop's tables break the data contract. Running again on the same tables cannot help."""

    exit_status = 2
    is_retryable = False


class TooLittle(DataError):
    """There is too little to learn something optional from; it is left out, and what would need it says why."""


class SettingsError(VitrineError):
    """A setting, option or specification is wrong; the message names the key and the value."""

    exit_status = 2
    is_retryable = False


class Unanswerable(VitrineError):
    """The live release does not answer questions of this kind; the message says what the shop's data lack."""

    exit_status = 2
    is_retryable = False


class GateRejected(VitrineError):
    """The gate refused the challenger. The verdict holds the reasons; the old release stays live."""

    exit_status = 3
    is_retryable = False


class CorruptArtifact(VitrineError):
    """A file is missing, of another size or of another digest than its manifest says."""


class TakenAway(VitrineError):
    """An erasure removed what a stage was writing. Another try leaves out who was erased."""


class ErasedMeanwhile(VitrineError):
    """Somebody was erased while a stage read the person's data: nothing was sealed, another try leaves them out."""


class UpstreamErased(VitrineError):
    """What a stage starts from was removed, because it held a person who was erased: the run begins anew at ingest."""

    is_retryable = False


class BundleRefused(CorruptArtifact):
    """A serving bundle failed its checks. It is never loaded; what was serving goes on serving."""

    is_retryable = False


class BundleAbsent(BundleRefused):
    """A store does not hold the bundle that a release names. It may still arrive, or be restored."""

    is_retryable = True


class ReleaseRejected(VitrineError):
    """The gate accepted the challenger, and the person who was asked did not, or nobody answered in time."""

    is_retryable = False


class ReleaseConflict(VitrineError):
    """Somebody released since this challenger was judged: judge it again against the new parent."""

    is_retryable = False


class LakeConflict(VitrineError):
    """A day of the lake was published by somebody else since its source was read: read it again."""

    is_retryable = False


class StoreUnreachable(VitrineError):
    """The serving store cannot be read or written. What serves goes on; a retry ends in the same state."""


class TrackingError(VitrineError):
    """MLflow cannot be reached, or refuses. Nothing that serves depends on it; a retry resumes the run."""


class WorkerLost(VitrineError):
    """A training of several workers lost one. All of them have to be started again; they resume."""


class NothingLive(VitrineError):
    """There is no release that could be served: none was made yet, or none of them passed its checks."""


class DiskFull(VitrineError):
    """A disk has no room for what is about to be written. Nothing was written; a retry helps once there is room."""
