"""Cutting a byte stream into frames."""

from hypothesis import given
from hypothesis import strategies as st

from runners.link.frames import FrameProtocol
from runtimes.protocol.framing import MAX_FRAME_BYTES, PREFIX, encode

Frame = tuple[int, int, int, bytes, bytes]

frames = st.tuples(
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=80),
    st.binary(max_size=3_000),
)


class Collector(FrameProtocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.violations: list[str] = []

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        self.frames.append((kind, flags, stream, header, body))

    def on_violation(self, what: str) -> None:
        self.violations.append(what)


class TestFrameProtocol:
    @given(st.lists(frames, max_size=6), st.lists(st.integers(1, 700), min_size=1))
    def test_gives_the_same_frames_however_the_stream_is_cut(
        self, sent: list[Frame], cuts: list[int]
    ) -> None:
        stream = b"".join(encode(k, s, h, b, f) for k, f, s, h, b in sent)
        collector = Collector()

        position, turn = 0, 0
        while position < len(stream):
            size = cuts[turn % len(cuts)]
            collector.data_received(stream[position : position + size])
            position, turn = position + size, turn + 1

        assert (collector.frames, collector.violations) == (sent, [])

    def test_refuses_a_header_longer_than_its_frame(self) -> None:
        collector = Collector()

        collector.data_received(PREFIX.pack(8, 1, 0, 5, 0) + b"12345678")

        assert (collector.frames, len(collector.violations)) == ([], 1)

    def test_refuses_a_frame_over_the_limit_and_takes_one_at_it(self) -> None:
        over, at = Collector(), Collector()

        over.data_received(PREFIX.pack(MAX_FRAME_BYTES + 1, 1, 0, 0, 0))
        at.data_received(encode(1, 0, b"", b"x" * (MAX_FRAME_BYTES - 8)))

        assert len(over.violations) == 1
        assert len(at.frames[0][4]) == MAX_FRAME_BYTES - 8
