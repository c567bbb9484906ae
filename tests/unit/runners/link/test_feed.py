"""Applying the table's changes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.wire.table import SCHEMA, Entry, Feed, entry_sha256, table_digest
from runners.link.feed import Table

keys = st.sampled_from(["function/a", "function/b", "token/1", "key/k"])
changes = st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 99))), max_size=25)


def entry(key: str, revision: int, value: int | None) -> Entry:
    if value is None:
        return Entry(key, revision, "")
    body = msgspec.json.encode({"value": value})
    return Entry(key, revision, entry_sha256(key, body), msgspec.Raw(body))


def feed(revision: int, entries: list[Entry], state: dict[str, Entry], full: bool = False) -> Feed:
    digest = table_digest(item.sha256 for item in state.values())
    return Feed(SCHEMA, revision, full, digest, entries)


class TestTable:
    @given(changes, st.integers(1, 4))
    def test_after_all_changes_equals_the_table_sent_whole(
        self, made: list[tuple[str, int | None]], batch: int
    ) -> None:
        table, state = Table(), dict[str, Entry]()

        for start in range(0, len(made), batch):
            entries = {}
            for number, (key, value) in enumerate(made[start : start + batch], start):
                entries[key] = entry(key, number + 1, value)
                state[key] = entries[key]
                if value is None:
                    state.pop(key)
            revision = start + batch
            table = table.changed_by(feed(revision, list(entries.values()), state))
        whole = Table().changed_by(feed(table.revision, list(state.values()), state, full=True))

        assert table.entries == whole.entries == state

    def test_refuses_a_body_that_does_not_match_its_checksum(self) -> None:
        good = entry("function/a", 1, 1)
        bad = Entry(good.key, 1, good.sha256, msgspec.Raw(b'{"value":2}'))

        with pytest.raises(ValueError, match="checksum"):
            Table().changed_by(feed(1, [bad], {"function/a": good}))

    def test_refuses_changes_that_do_not_add_up(self) -> None:
        first, second = entry("function/a", 1, 1), entry("function/b", 2, 2)

        with pytest.raises(ValueError, match="digest"):
            Table().changed_by(feed(2, [second], {"function/a": first, "function/b": second}))

    def test_refuses_a_schema_it_does_not_read(self) -> None:
        with pytest.raises(ValueError, match="schema 2"):
            Table().changed_by(Feed(2, 1, True, table_digest([]), []))

    def test_forgets_everything_else_when_it_is_sent_whole(self) -> None:
        old, new = entry("function/a", 1, 1), entry("function/b", 2, 2)
        table = Table().changed_by(feed(1, [old], {"function/a": old}))

        table = table.changed_by(feed(2, [new], {"function/b": new}, full=True))

        assert list(table.entries) == ["function/b"]
