"""The document of the record says what the code says: every file, every row, every field, each explained once."""

from __future__ import annotations

import pytest

from telemetry.record.folder import EVIDENCE
from telemetry.schema.document import document
from telemetry.schema.meanings import MEANINGS, is_explained, meaning_of
from telemetry.schema.table import FILES
from telemetry.schema.types import structs_in
from tests.support.checkout import ROOT

FIELDS = list(
    dict.fromkeys(
        (struct, field)
        for file in FILES
        if file.content
        for struct in structs_in(file.content)
        for field in struct.__struct_fields__
    )
)


def test_the_document_is_made_from_the_code() -> None:
    written = (ROOT / "telemetry/record/RECORD.md").read_text(encoding="utf-8")

    assert written == document(), "make it again: python -m telemetry.schema.document > telemetry/record/RECORD.md"


def test_the_evidence_is_what_the_manifest_names() -> None:
    assert {file.name for file in FILES if file.is_evidence} == set(EVIDENCE)


@pytest.mark.parametrize(("struct", "field"), FIELDS, ids=[f"{struct.__name__}.{field}" for struct, field in FIELDS])
def test_every_field_is_explained(struct: type, field: str) -> None:
    assert meaning_of(struct, field) or is_explained(struct, field)


def test_no_explanation_is_left_over() -> None:
    # Given the fields that have a meaning of their own, and those that share one
    own = {f"{struct.__name__}.{field}" for struct, field in FIELDS}
    shared = {field for struct, field in FIELDS if meaning_of(struct, field) == MEANINGS.get(field) is not None}
    # Then the table holds those and no others
    assert set(MEANINGS) - own - shared == set()
