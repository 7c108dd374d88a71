"""The wire: what is sent comes back, and nothing that comes in can crash a robot."""

import random

from hypothesis import given
from hypothesis import strategies as st

from broker.envelope import KINDS, MAX_BODY, MAX_FRAME, Envelope, Garbage, decode, encode
from robots.knowledge import Knowledge
from robots.messages import (
    DELTA_LIMIT,
    HOT_LIMIT,
    Answer,
    Summary,
    Update,
    decode_message,
    delta,
    encode_message,
    hot_parts,
    kind_of,
    part_size,
    parts_of,
)
from robots.secret import MAX_PARTS, MAX_WORD, Part

NAMES = st.from_regex(r"r[0-9]{2,5}", fullmatch=True)
PARTS = st.builds(
    Part,
    index=st.integers(0, MAX_PARTS - 1),
    word=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    last=st.booleans(),
)
MESSAGES = st.one_of(
    st.builds(
        Summary,
        known=st.binary(max_size=64),
        hot=st.lists(PARTS, max_size=5).map(tuple),
        peers=st.lists(NAMES, max_size=8).map(tuple),
        attempt=st.integers(0, 2),
    ),
    st.builds(
        Answer,
        parts=st.lists(PARTS, max_size=5).map(tuple),
        want=st.binary(max_size=64),
        equal=st.booleans(),
        attempt=st.integers(0, 2),
    ),
    st.builds(Update, parts=st.lists(PARTS, max_size=5).map(tuple)),
)


def an_envelope(**changes) -> Envelope:
    fields = {
        "run": "abc123",
        "sender": "r00",
        "incarnation": 1,
        "receiver": "r01",
        "sequence": 1,
        "exchange": b"12345678",
        "kind": "summary",
        "body": b"body",
    }
    return Envelope(**(fields | changes))


@given(MESSAGES, st.integers(1, 2**40), st.integers(1, 2**31))
def test_every_message_comes_back_as_it_was_sent(message, sequence: int, incarnation: int) -> None:
    sent = an_envelope(kind=kind_of(message), body=encode_message(message), sequence=sequence, incarnation=incarnation)

    came = decode(encode(sent))

    assert came == sent
    assert decode_message(came.kind, came.body) == message


def test_ten_thousand_garbage_frames_are_values() -> None:
    # Given frames that are random, and frames that are honest but for a few bits
    chance = random.Random(7)
    honest = encode(an_envelope(body=encode_message(Summary(b"\x07", (Part(0, "a ", False),), ("r02",)))))
    frames = [chance.randbytes(chance.randrange(200)) for _ in range(5000)]
    for _ in range(5000):
        bent = bytearray(honest)
        for _ in range(chance.randint(1, 4)):
            bent[chance.randrange(len(bent))] ^= chance.randint(1, 255)
        frames.append(bytes(bent))

    # Then each of them decodes to garbage with a reason, or to the honest envelope itself
    for frame in frames:
        came = decode(frame)
        assert frame == honest or (isinstance(came, Garbage) and came.reason)


@given(st.sampled_from([*KINDS, "unknown", ""]), st.binary(max_size=300))
def test_any_body_of_any_kind_is_a_message_or_garbage(kind: str, body: bytes) -> None:
    assert isinstance(decode_message(kind, body), Garbage | Summary | Answer | Update)


def test_an_honest_checksum_does_not_excuse_a_dishonest_content() -> None:
    for changes in (
        {"kind": "gossip"},
        {"exchange": b"short"},
        {"sequence": 0},
        {"incarnation": 0},
        {"sender": "r" + "0" * 40},
        {"body": b"x" * (MAX_BODY + 1)},
    ):
        assert isinstance(decode(encode(an_envelope(**changes))), Garbage), changes
    assert isinstance(decode(b"x" * (MAX_FRAME + 1)), Garbage)


def test_messages_above_the_limits_are_garbage() -> None:
    for kind, message in (
        ("update", Update((Part(MAX_PARTS, "x", False),))),
        ("update", Update((Part(-1, "x", False),))),
        ("update", Update((Part(0, "x" * (MAX_WORD + 1), False),))),
        ("update", Update((Part(0, "", False),))),
        ("summary", Summary(b"x" * (MAX_PARTS // 8 + 1))),
        ("summary", Summary(b"", (), ("no robot",))),
        ("summary", Summary(b"", (), ("r00",) * 9)),
        ("answer", Answer((), b"x" * (MAX_PARTS // 8 + 1))),
    ):
        assert isinstance(decode_message(kind, encode_message(message)), Garbage), message


def test_a_delta_is_cut_at_the_limit_and_begins_at_the_given_index() -> None:
    knowledge = Knowledge()
    knowledge.learn(Part(index, "x" * 1000, False) for index in range(100))
    everything = (1 << 100) - 1

    parts = delta(knowledge.now, everything, 90)

    assert [part.index for part in parts][:12] == [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 0, 1]
    assert sum(map(part_size, parts)) <= DELTA_LIMIT
    assert len(encode(an_envelope(kind="update", body=encode_message(Update(parts))))) <= MAX_FRAME


def test_a_delta_always_carries_one_part_even_the_longest() -> None:
    knowledge = Knowledge()
    knowledge.learn([Part(0, "x" * MAX_WORD, False)])

    parts = delta(knowledge.now, 1, 0)

    assert len(parts) == 1
    assert not isinstance(decode(encode(an_envelope(kind="update", body=encode_message(Update(parts))))), Garbage)


def test_the_largest_honest_answer_fits_the_wire() -> None:
    knowledge = Knowledge()
    knowledge.learn(Part(index, "x" * 1000, False) for index in range(40))
    parts = delta(knowledge.now, (1 << 40) - 1, 0)
    answer = Answer(parts, b"\xff" * (MAX_PARTS // 8))

    frame = encode(an_envelope(kind="answer", body=encode_message(answer)))

    assert not isinstance(decode(frame), Garbage)


def test_hot_parts_ride_only_when_all_of_them_fit() -> None:
    knowledge = Knowledge()
    knowledge.learn(Part(index, "x" * 40, False) for index in range(20))

    assert len(hot_parts(knowledge.now, range(10))) == 10
    assert hot_parts(knowledge.now, range(11)) == ()
    assert sum(map(part_size, hot_parts(knowledge.now, range(10)))) <= HOT_LIMIT


def test_a_message_shows_its_parts() -> None:
    parts = (Part(0, "a", True),)

    assert parts_of(Summary(b"", parts)) == parts_of(Answer(parts)) == parts_of(Update(parts)) == parts
