"""Artifacts as files below ``artifacts``, their records below ``.state/artifacts``.

A writer records first and puts the body in place second, under the lock; a reader takes no lock,
and picks the record that belongs to the body it sees. So it gets the old or the new whole value,
also while a writer is at it and after a writer was killed between the two steps.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

from py_code_mode.store.base import OpenArtifact, StoredArtifact
from py_code_mode.store.draft import Draft
from py_code_mode.store.file_artifact_records import (
    MAX_RECORDS_BYTES,
    BodyRecord,
    BodyRecords,
    body_digest,
    records_file,
)
from py_code_mode.store.file_bodies import Bodies
from py_code_mode.store.file_errors import NotAFileError, changes_too_fast, disk_errors
from py_code_mode.store.file_folders import (
    Identity,
    file_status,
    folder,
    identity,
    open_file,
    read_file,
    walk,
)
from py_code_mode.store.file_parents import (
    check_replaceable,
    link_in_the_way,
    parent,
    remove_empty_parents,
)
from py_code_mode.store.file_root import FileRoot
from py_code_mode.store.file_types import ANYTHING
from py_code_mode.store.names import (
    STATE_FOLDER,
    artifact_not_found,
    artifact_segments,
    is_artifact_name,
    utc_text,
)
from py_code_mode.store.pieces import gathered, read_in_pieces

#: How often a reader starts again when writers are faster; each attempt takes microseconds.
READ_ATTEMPTS = 100
#: An alias, because the class below has a method named list.
Artifacts = list[StoredArtifact]
_log = logging.getLogger(__name__)


class FileArtifacts:
    """The bodies below one folder. One that a person put there is typed by its suffix."""

    def __init__(self, root: FileRoot) -> None:
        self._root = root
        self._folder = root.under("artifacts")
        self._state = root.under(STATE_FOLDER, "artifacts")
        self._bodies = Bodies()

    async def add(
        self,
        name: str,
        body: bytes,
        *,
        media_type: str = ANYTHING,
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save or replace ``name`` so that a reader sees the old or the new whole value.

        Raises:
            InvalidArtifactNameError: as the protocol says, and for a link in the way.
            ArtifactTypeError: for metadata that is not JSON.
            StorageFullError, StorageUnavailableError: from the disk.
        """
        segments = artifact_segments(name)
        record = BodyRecord.unplaced(name, media_type, description, metadata)
        return await asyncio.to_thread(self._add, segments, body, record)

    @property
    def streams(self) -> bool:
        """True: bodies go through in pieces."""
        return True

    async def receive(
        self,
        name: str,
        pieces: AsyncIterable[bytes],
        *,
        media_type: str = ANYTHING,
        description: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> StoredArtifact:
        """Save a body that comes in pieces, once it is whole. Raises as ``add``, and ``pieces``."""
        segments = artifact_segments(name)
        record = BodyRecord.unplaced(name, media_type, description, metadata)
        draft = self._root.new_draft()
        try:
            await asyncio.to_thread(self._drafted, draft, None)
            async with aclosing(gathered(pieces)) as larger:
                async for piece in larger:
                    await asyncio.to_thread(self._drafted, draft, piece)
            return await asyncio.to_thread(self._place, segments, draft, record)
        finally:
            await asyncio.to_thread(draft.discard)

    async def get(self, name: str) -> StoredArtifact:
        """Return the record. Raises ArtifactNotFoundError, InvalidArtifactNameError."""
        at = artifact_segments(name)
        return (await asyncio.to_thread(self._get, name, at, with_body=False))[0]

    async def read(self, name: str) -> tuple[StoredArtifact, bytes]:
        """Return record and body, which belong together. Raises as ``get``."""
        return await asyncio.to_thread(self._get, name, artifact_segments(name), with_body=True)

    async def read_at_most(self, name: str, size: int) -> tuple[StoredArtifact, bytes | None]:
        """As ``read``; of a body of more than ``size`` bytes nothing is read, and it is None."""
        return await asyncio.to_thread(self._read_at_most, name, artifact_segments(name), size)

    @asynccontextmanager
    async def sending(self, name: str) -> AsyncIterator[OpenArtifact]:
        """Open ``name``: its record, and its body in pieces. Raises as ``get``."""
        stored, file = await asyncio.to_thread(self._opened, name, artifact_segments(name))
        with file:
            yield stored, read_in_pieces(file)

    async def list(self) -> list[StoredArtifact]:
        """Return the record of every body that can be read, ordered by name."""
        return await asyncio.to_thread(self._list)

    async def remove(self, name: str) -> None:
        """Remove ``name`` and the folders that are empty then. Raises as ``get``."""
        await asyncio.to_thread(self._remove, name, artifact_segments(name))

    def _add(self, segments: Sequence[str], body: bytes, new: BodyRecord) -> StoredArtifact:
        digest = body_digest(body)
        with disk_errors(os.path.join(self._folder, new.name)), self._root.draft(body) as draft:
            return self._placed(segments, draft, digest, new)

    def _drafted(self, draft: Draft, piece: bytes | None) -> None:
        """Create a draft, or append to it."""
        with disk_errors(self._folder):
            if piece is None:
                self._root.open_draft(draft)
            else:
                draft.write_piece(piece)

    def _place(self, segments: Sequence[str], draft: Draft, new: BodyRecord) -> StoredArtifact:
        with disk_errors(os.path.join(self._folder, new.name)):
            draft.finish()
            return self._placed(segments, draft, draft.digest, new)

    def _placed(
        self, segments: Sequence[str], draft: Draft, digest: str, new: BodyRecord
    ) -> StoredArtifact:
        file = segments[-1]
        with (
            self._root.exclusive(),
            self._root.made(self._folder) as top,
            parent(top, new.name, segments, create=True) as within,
        ):
            check_replaceable(within, file, new.name)
            new = new.of_body(draft.identity, digest, utc_text())
            # Invariant: no body is in place whose record is not.
            self._record(within, file, new)
            draft.place(within, file)
        return new.stored()

    def _get(
        self, name: str, segments: Sequence[str], *, with_body: bool
    ) -> tuple[StoredArtifact, bytes]:
        with self._within(name, segments) as within:
            return self._live(within, segments[-1], name, with_body=with_body)

    def _read_at_most(
        self, name: str, segments: Sequence[str], size: int
    ) -> tuple[StoredArtifact, bytes | None]:
        stored, file = self._opened(name, segments)
        with disk_errors(os.path.join(self._folder, name)), file:
            fits = os.fstat(file.fileno()).st_size <= size
            return stored, file.readall() if fits else None

    def _opened(self, name: str, segments: Sequence[str]) -> tuple[StoredArtifact, io.FileIO]:
        """Return the record and the open file of its body."""
        with self._within(name, segments) as within:
            for _ in range(READ_ATTEMPTS):
                with ExitStack() as stack:
                    file = stack.enter_context(open_file(within, segments[-1]))
                    stored, _ = self._live(within, segments[-1], name, with_body=False)
                    # The same file before and after: the record in between was its own.
                    if identity(os.fstat(file.fileno())) == identity(
                        file_status(within, segments[-1])
                    ):
                        stack.pop_all()
                        return stored, file
        raise changes_too_fast(name)

    @contextmanager
    def _within(self, name: str, segments: Sequence[str]) -> Iterator[int]:
        """Open the folder that a body is in; what is missing or in the way there is told."""
        with disk_errors(os.path.join(self._folder, name)):
            try:
                with folder(self._folder) as top, parent(top, name, segments) as within:
                    yield within
            except FileNotFoundError:
                raise artifact_not_found(name) from None
            except NotAFileError as error:
                if error.is_folder:
                    raise artifact_not_found(name) from None
                raise link_in_the_way(name, name) from error

    def _list(self) -> Artifacts:
        found: Artifacts = []
        with disk_errors(self._folder), suppress(FileNotFoundError), folder(self._folder) as top:
            for within, file, name in walk(top):
                if is_artifact_name(name):
                    found += self._listed(within, file, name)
        return sorted(found, key=lambda artifact: artifact.name)

    def _listed(self, within: int, file: str, name: str) -> Artifacts:
        try:
            return [self._live(within, file, name, with_body=False)[0]]
        except (FileNotFoundError, NotAFileError):  # it went away since the folder was read
            return []
        except OSError as error:
            _log.warning("artifact passed over: %s/%s: %s", self._folder, name, error)
            return []

    def _remove(self, name: str, segments: Sequence[str]) -> None:
        self._get(name, segments, with_body=False)
        with (
            disk_errors(os.path.join(self._folder, name)),
            self._root.exclusive(),
            folder(self._folder) as top,
        ):
            try:
                with parent(top, name, segments) as within:
                    os.unlink(segments[-1], dir_fd=within)
            except FileNotFoundError:  # another process was faster
                raise artifact_not_found(name) from None
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._state, records_file(name)))
            remove_empty_parents(top, segments)

    def _live(
        self, within: int, file: str, name: str, *, with_body: bool
    ) -> tuple[StoredArtifact, bytes]:
        """Return record and body that belong together, whatever writers do meanwhile."""
        before = None
        for _ in range(READ_ATTEMPTS):
            if with_body:
                body, status = read_file(within, file)
            else:
                body, status = b"", file_status(within, file)
            seen = identity(status)
            text = self._root.load(self._state, records_file(name))
            record = self._recorded(within, file, name, seen, text)
            if record is not None:
                return record.stored(), body
            # Not recorded: a writer ran between the two reads, unless they say the same again.
            if (seen, text) == before:
                facts = self._bodies.facts(within, file, name, seen)
                if facts.identity == seen:
                    return facts.stored(name), body
            before = (seen, text)
        raise changes_too_fast(name)

    def _recorded(
        self, within: int, file: str, name: str, seen: Identity, text: bytes
    ) -> BodyRecord | None:
        records = BodyRecords(text)
        record = records.looking_like(seen)
        if record is None and records.may_have(seen[0]):
            facts = self._bodies.facts(within, file, name, seen)
            record = records.of_digest(facts.digest) if facts.identity == seen else None
        return record

    def _record(self, within: int, file: str, new: BodyRecord) -> None:
        """Append the record of the new body; the current one stays, for readers until then."""
        length = self._root.append(self._state, records_file(new.name), new.line())
        if length > MAX_RECORDS_BYTES:
            text = self._root.load(self._state, records_file(new.name))
            lines = new.line()
            with suppress(FileNotFoundError):
                seen = identity(file_status(within, file))
                current = self._recorded(within, file, new.name, seen, text)
                lines = (current.line() if current else b"") + lines
            self._root.save(self._state, records_file(new.name), lines)
