"""The tables of a SQLite store, format 2, and what turns an older format into the next."""

FORMAT = "2"
"""The format this release reads and writes, as kept in the table `meta`."""

_DOCUMENT = """CREATE TABLE document (
        kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, updated REAL NOT NULL,
        PRIMARY KEY (kind, key)) STRICT"""

SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE rollout (model TEXT PRIMARY KEY, generation INTEGER NOT NULL, body TEXT NOT NULL) STRICT",
    """CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, kind TEXT NOT NULL, time REAL NOT NULL,
        generation INTEGER NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, body TEXT NOT NULL) STRICT""",
    "CREATE INDEX journal_of_model ON journal (model, seq)",
    """CREATE TRIGGER journal_keeps BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER journal_stays BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TABLE lease (
        name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires REAL NOT NULL,
        ttl REAL NOT NULL) STRICT""",
    """CREATE TABLE tick (
        incarnation TEXT NOT NULL, sequence INTEGER NOT NULL, interval INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (incarnation, sequence)) STRICT""",
    "CREATE INDEX tick_in_order ON tick (interval, incarnation, sequence)",
    """CREATE TABLE counter (
        rollout_id TEXT NOT NULL, step_id TEXT NOT NULL, bucket INTEGER NOT NULL, "check" TEXT NOT NULL,
        slice TEXT NOT NULL, arm TEXT NOT NULL, incarnation TEXT NOT NULL, value INTEGER NOT NULL,
        PRIMARY KEY (rollout_id, step_id, bucket, "check", slice, arm, incarnation)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE ground_truth (
        prediction_id TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
        event_time REAL NOT NULL, received_time REAL NOT NULL,
        PRIMARY KEY (prediction_id, source, kind, value)) STRICT, WITHOUT ROWID""",
    _DOCUMENT,
    f"INSERT INTO meta VALUES ('format', '{FORMAT}'), ('ticks_from', '-1')",
)
"""What makes an empty file a store, in order, in one transaction."""

MIGRATIONS = {"1": (_DOCUMENT, "UPDATE meta SET value = '2' WHERE key = 'format'")}
"""What turns a store of a format into one of the next, in order, in one transaction."""
