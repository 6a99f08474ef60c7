"""The tables of a SQLite store, format 3, and what turns an older format into the next."""

FORMAT = "3"
"""The format this release reads and writes, as kept in the table `meta`."""

_DOCUMENT = """CREATE TABLE document (
        kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, updated REAL NOT NULL,
        PRIMARY KEY (kind, key)) STRICT"""

_GROUND_TRUTH = """CREATE TABLE ground_truth (
        prediction_id TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        event_time REAL NOT NULL, received_time REAL NOT NULL, weight REAL NOT NULL, copies INTEGER NOT NULL,
        PRIMARY KEY (prediction_id, source, kind, name, value, event_time)) STRICT, WITHOUT ROWID"""

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
    _GROUND_TRUTH,
    _DOCUMENT,
    f"INSERT INTO meta VALUES ('format', '{FORMAT}'), ('ticks_from', '-1')",
)
"""What makes an empty file a store, in order, in one transaction."""

MIGRATIONS = {
    "1": (_DOCUMENT, "UPDATE meta SET value = '2' WHERE key = 'format'"),
    "2": (
        "ALTER TABLE ground_truth RENAME TO ground_truth_2",
        _GROUND_TRUTH,
        """INSERT INTO ground_truth SELECT prediction_id, source, kind, '', value, event_time, received_time, 1.0, 1
            FROM ground_truth_2""",
        "DROP TABLE ground_truth_2",
        "UPDATE meta SET value = '3' WHERE key = 'format'",
    ),
}
"""What turns a store of a format into one of the next, in order, in one transaction."""
