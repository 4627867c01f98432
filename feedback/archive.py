"""The archive: every program ever tried, with its parent, in SQLite; the programs' texts beside it by content hash.

It is also what makes a run safe to kill: a try is written when it is proposed and again, in one transaction, when it
is scored, and the loop asks the archive what is left to do. SQLite's journal keeps either all of a write or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint, create_engine, event, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.task import Candidate, Score
from results.store import write_atomically


class Base(DeclarativeBase):
    """All tables of the archive."""

    type_annotation_map = {dict[str, object]: JSON, list[str]: JSON}  # noqa: RUF012


class Try(Base):
    """One program in one generation of one task. Generation 0 is the seed."""

    __tablename__ = "tries"
    __table_args__ = (UniqueConstraint("task", "generation", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str]
    generation: Mapped[int]
    number: Mapped[int]
    """Position among the tries of its generation."""
    sha: Mapped[str]
    weights: Mapped[str | None]
    parent: Mapped[int | None] = mapped_column(ForeignKey("tries.id"))
    lever: Mapped[str]
    moves: Mapped[list[str]]
    """The moves that made it from its parent."""
    committed: Mapped[str] = mapped_column(String, default="")
    """Seed commitment, written before the program ran."""
    score: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """A Score as JSON; None until it is scored."""
    gain: Mapped[float | None] = mapped_column(default=None)
    gain_low: Mapped[float | None] = mapped_column(default=None)
    gain_high: Mapped[float | None] = mapped_column(default=None)
    """Paired gain over the parent, in the better direction, with its interval."""
    why: Mapped[str] = mapped_column(default="")
    """Why it was kept or not."""
    created: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    @property
    def scored(self) -> Score | None:
        """The score as an object."""
        return Score.model_validate(self.score) if self.score is not None else None


class Generation(Base):
    """A finished generation: which try is the best from here on."""

    __tablename__ = "generations"

    task: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    best: Mapped[int] = mapped_column(ForeignKey("tries.id"))


class Report(Base):
    """The one scoring of the report split, and the record that was written for it."""

    __tablename__ = "reports"

    task: Mapped[str] = mapped_column(primary_key=True)
    committed: Mapped[str] = mapped_column(default="")
    begun: Mapped[int] = mapped_column(default=0)
    """How often it was begun; more than 1 only when the controller died in the middle of it."""
    seed: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    best: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    wall_s: Mapped[float] = mapped_column(default=0.0)


class Clock(Base):
    """Seconds spent on a task so far, over all sittings."""

    __tablename__ = "clocks"

    task: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[float] = mapped_column(default=0.0)


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durable(connection, _):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    Base.metadata.create_all(engine)
    return engine


class Archive:
    """The archive of one run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "programs").mkdir(parents=True, exist_ok=True)
        self._engine = _open(folder / "archive.sqlite")

    def session(self) -> Session:
        """A database session; objects stay readable after it has ended."""
        return Session(self._engine, expire_on_commit=False)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def keep_program(self, candidate: Candidate) -> None:
        """Store a program's text under its hash."""
        path = self.folder / "programs" / f"{candidate.sha}.py"
        if not path.exists():
            write_atomically(path, candidate.source.encode())

    def candidate(self, tried: Try) -> Candidate:
        """The program of a try, as a candidate. Raises ValueError when the stored text is not what was hashed."""
        source = (self.folder / "programs" / f"{tried.sha}.py").read_text()
        found = Candidate(source=source, weights=tried.weights, name="+".join(tried.moves) or "seed")
        if found.sha != tried.sha:
            raise ValueError(f"program {tried.sha[:12]} in the archive was changed")
        return found

    def propose(self, rows: Sequence[tuple[Try, Candidate]]) -> None:
        """Write down a generation's tries before any of them runs."""
        for _, candidate in rows:
            self.keep_program(candidate)
        with self.session() as session:
            session.add_all([row for row, _ in rows])
            session.commit()

    def save(self, *rows: Base) -> None:
        """Write changed rows in one transaction."""
        with self.session() as session:
            for row in rows:
                session.merge(row)
            session.commit()

    def tries(self, task: str, generation: int | None = None) -> list[Try]:
        """Tries of a task in the order in which they were proposed."""
        query = select(Try).where(Try.task == task).order_by(Try.generation, Try.number)
        if generation is not None:
            query = query.where(Try.generation == generation)
        with self.session() as session:
            return list(session.scalars(query))

    def get(self, id_: int) -> Try:
        """One try."""
        with self.session() as session:
            return session.get_one(Try, id_)

    def generations(self, task: str) -> list[Generation]:
        """Finished generations, oldest first."""
        with self.session() as session:
            query = select(Generation).where(Generation.task == task).order_by(Generation.number)
            return list(session.scalars(query))

    def report(self, task: str) -> Report | None:
        """The scoring of the report split, if it was begun."""
        with self.session() as session:
            return session.get(Report, task)

    def add_seconds(self, task: str, seconds: float) -> float:
        """Add to the time spent on a task; returns the sum."""
        with self.session() as session:
            clock = session.get(Clock, task) or Clock(task=task, seconds=0.0)
            clock.seconds += seconds
            session.merge(clock)
            session.commit()
            return clock.seconds

    def lineage(self, tried: Try) -> list[str]:
        """The moves from the seed to a try, in order."""
        moves: list[str] = []
        at: Try | None = tried
        while at is not None and at.parent is not None:
            moves = [*at.moves, *moves]
            at = self.get(at.parent)
        return moves
