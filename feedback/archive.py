"""The archive: every program ever tried, with its parent, in SQLite; the programs' texts beside it by content hash.

It is also what makes a run safe to kill: a try is written when it is proposed and again, in one transaction, when it
is scored, and the loop asks the archive what is left to do. SQLite's journal keeps either all of a write or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint, create_engine, event, inspect, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.task import Candidate, Score
from feedback.budget import Spent
from results.store import write_atomically
from sandboxes.base import UserError


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
    stage: Mapped[str] = mapped_column(default="")
    """How far it came in staging: `ready`, or the stage it failed at; empty before."""
    score: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """A Score as JSON: its first look on the search split, or its staging's verdict; None until then."""
    gain: Mapped[float | None] = mapped_column(default=None)
    gain_low: Mapped[float | None] = mapped_column(default=None)
    gain_high: Mapped[float | None] = mapped_column(default=None)
    """Paired gain over the best of the time, over all looks, in the better direction, with its 95 % interval."""
    p: Mapped[float | None] = mapped_column(default=None)
    """Chance of such a gain, or a larger one, if the program were no better."""
    alpha: Mapped[float | None] = mapped_column(default=None)
    """What `p` was held against."""
    why: Mapped[str] = mapped_column(default="")
    """Why it was kept or not."""
    created: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))

    @property
    def scored(self) -> Score | None:
        """The score as an object."""
        return Score.model_validate(self.score) if self.score is not None else None


class Generation(Base):
    """What was decided for a generation, and, once it is finished, which try is the best from here on."""

    __tablename__ = "generations"

    task: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    lever: Mapped[str] = mapped_column(default="")
    why: Mapped[str] = mapped_column(default="")
    """Why this lever, by the policy."""
    evidence: Mapped[dict[str, object]] = mapped_column(default=dict)
    """What the policy chose by, alternatives included."""
    decision: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """The agent's decision, as `feedback.decision.Decision`."""
    adapter: Mapped[str | None] = mapped_column(default=None)
    """Hash of the adapter that the task's model wears from here on."""
    best: Mapped[int | None] = mapped_column(ForeignKey("tries.id"), default=None)
    """None until it is finished."""
    gain: Mapped[float] = mapped_column(default=0.0)
    """Paired gain of what was kept; 0 when nothing was."""
    canary: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    watch: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    cost: Mapped[dict[str, object]] = mapped_column(default=dict)
    """As `feedback.budget.Spent`."""


class Look(Base):
    """One scoring of tries beside the best under one secret seed."""

    __tablename__ = "looks"

    task: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    committed: Mapped[str] = mapped_column(default="")
    scores: Mapped[dict[str, object]] = mapped_column(default=dict)
    """Scores as JSON by the try's id."""


class Report(Base):
    """The one scoring of the report split, and the record that was written for it."""

    __tablename__ = "reports"

    task: Mapped[str] = mapped_column(primary_key=True)
    committed: Mapped[str] = mapped_column(default="")
    begun: Mapped[int] = mapped_column(default=0)
    """How often it was begun; more than 1 only when the controller died in the middle of it."""
    seed: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    best: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True), default=None)
    curve: Mapped[dict[str, object]] = mapped_column(default=dict)
    """For each program that was the best once, by its name: its value on both splits."""
    wall_s: Mapped[float] = mapped_column(default=0.0)


class Spending(Base):
    """What a task has cost so far, over all sittings; see `feedback.budget.Spent`."""

    __tablename__ = "spending"

    task: Mapped[str] = mapped_column(primary_key=True)
    candidates: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    tokens: Mapped[int] = mapped_column(default=0)
    money: Mapped[float] = mapped_column(default=0.0)
    malformed: Mapped[int] = mapped_column(default=0)
    """Answers of the agent that were no decision."""
    stopped: Mapped[str] = mapped_column(default="")
    """Why no further generation may begin; empty when one may."""


SCHEMA = 2
"""Raised with every change of a table."""


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durable(connection, _):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    try:
        _prepare(engine, path)
    except DatabaseError as error:
        raise UserError(f"{path} can't be read as an archive: {error.orig}") from None
    return engine


def _prepare(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        found = connection.execute(text("PRAGMA user_version")).scalar_one()
        if found != SCHEMA:
            if inspect(connection).get_table_names():
                raise UserError(f"{path} was made by another version of ratchet: start a new run")
            Base.metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {SCHEMA}"))


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
        # Bytes: reading as text would turn each line end into our own, and the program into another one.
        source = (self.folder / "programs" / f"{tried.sha}.py").read_bytes().decode()
        found = Candidate(source=source, weights=tried.weights, name="+".join(tried.moves) or "seed")
        if found.sha != tried.sha:
            raise ValueError(f"program {tried.sha[:12]} in the archive was changed")
        return found

    def propose(self, rows: Sequence[tuple[Try, Candidate]], *decided: Base) -> None:
        """Write down a generation's tries, and what was decided for it, in one transaction before any of them runs."""
        for _, candidate in rows:
            self.keep_program(candidate)
        with self.session() as session:
            session.add_all([row for row, _ in rows])
            for row in decided:
                session.merge(row)
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
        """Generations that were begun, oldest first; the last of them may be unfinished."""
        with self.session() as session:
            query = select(Generation).where(Generation.task == task).order_by(Generation.number)
            return list(session.scalars(query))

    def looks(self, task: str, generation: int) -> list[Look]:
        """Scorings of a generation in their order."""
        with self.session() as session:
            query = select(Look).where(Look.task == task, Look.generation == generation).order_by(Look.number)
            return list(session.scalars(query))

    def tasks(self) -> list[str]:
        """Tasks that were begun."""
        with self.session() as session:
            return sorted(session.scalars(select(Try.task).distinct()))

    def report(self, task: str) -> Report | None:
        """The scoring of the report split, if it was begun."""
        with self.session() as session:
            return session.get(Report, task)

    def spending(self, task: str) -> Spending:
        """What a task has cost so far."""
        with self.session() as session:
            return session.get(Spending, task) or Spending(
                task=task, candidates=0, seconds=0.0, tokens=0, money=0.0, malformed=0, stopped=""
            )

    def costing(self, task: str, cost: Spent, *, malformed: int = 0) -> Spending:
        """What a task has cost with `cost` added; not written yet."""
        row = self.spending(task)
        row.candidates += cost.candidates
        row.seconds += cost.seconds
        row.tokens += cost.tokens
        row.money += cost.money
        row.malformed += malformed
        return row

    def spend(self, task: str, cost: Spent, *, malformed: int = 0) -> Spent:
        """Add to what a task has cost; returns the sum."""
        row = self.costing(task, cost, malformed=malformed)
        self.save(row)
        return Spent(row.candidates, row.seconds, row.tokens, row.money)

    def lineage(self, tried: Try) -> list[str]:
        """The moves from the seed to a try, in order."""
        moves: list[str] = []
        at: Try | None = tried
        while at is not None and at.parent is not None:
            moves = [*at.moves, *moves]
            at = self.get(at.parent)
        return moves
