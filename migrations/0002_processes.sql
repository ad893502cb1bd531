-- Who serves the configuration, and which revision each of them has. It is not configuration itself: rows come and go
-- without a revision, and one that nobody renews any more is forgotten. Times are Unix seconds.

CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    planes TEXT NOT NULL,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL
);
