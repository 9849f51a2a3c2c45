"""Text files of a dataset: what is read over, and what is said in one line."""

import json

import pytest

from ivadomed_labelfusion.data import texts
from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json

TABLE = "participant_id\tsite\nsub-01\ta\nsub-02\tb\n"


def dataset(folder, content):
    """Write two subjects and a table of them; return the dataset."""
    for name in ("sub-01", "sub-02"):
        (folder / name).mkdir()
    (folder / "participants.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace("\n", "\r\n"),
        "participant_id\nsub-01\nsub-02\n",
        TABLE.replace("sub-", ""),
        TABLE + "sub-01\ta\n",
        TABLE + "sub-03\n",
        "site\tparticipant_id\na\tsub-01\n",
        "subject\tsite\n01\ta\n",
        "participant_id\tsite\tx\nsub-01\tZürich, CH\tn/a\n\n",
    ],
)
def test_tables_that_are_read(tmp_path, content):
    texts.check_participants(dataset(tmp_path, content))


def test_a_dataset_without_a_table(tmp_path):
    texts.check_participants(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("participant_id\tsite\n", r"must list the dataset's subjects.*sub-01.*lists none"),
        ("participant_id\n1\n2\n", r"such as sub-01, but it lists others only, such as 1"),
        (TABLE.replace("\t", " "), "separated by tabs, got spaces"),
        (TABLE.replace("\t", "   "), "separated by tabs, got spaces"),
        (TABLE.replace("\t", ","), "separated by tabs, got commas"),
        (TABLE.replace("\t", ";"), "separated by tabs, got semicolons"),
        (TABLE.replace("participant_id", "Participant"), "must have a column participant_id, got Participant, site"),
        (TABLE.replace("\ta", "\ta\tb\tc"), "2 values in a row .* got 4 in line 2"),
        (TABLE.replace("\ta", '\t"a'), "quotation mark that is not closed"),
        (TABLE + "sub-01\tb\n", "lines 2 and 4 tell different things about sub-01"),
        (TABLE + "01\tb\n", "lines 2 and 4 tell different things about 01"),
        (TABLE.replace("site", "path"), "must not have a column 'path'"),
        (TABLE.replace("site", "participant_id"), "'participant_id' twice"),
        (TABLE.encode("utf-16"), "must be text in UTF-8, got UTF-16"),
        (TABLE.encode("utf-16-be"), "null characters"),
        (TABLE.replace("a\n", "Zürich\n").encode("latin-1"), "UTF-8, but line 2 is not"),
        (bytes(range(256)), "UTF-8"),
        (b"\x00\x01", "null characters"),
    ],
)
def test_tables_that_are_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        texts.check_participants(dataset(tmp_path, content))
    assert str(tmp_path / "participants.tsv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_table(tmp_path):
    (tmp_path / "participants.tsv").mkdir()
    with pytest.raises(InputError, match="must be a file"):
        texts.check_participants(tmp_path)


def test_a_configuration_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "ü"}).encode())
    assert read_json(path) == {"a": "ü"}


def test_pybids_reads_over_marks_and_is_left_as_it_was(tmp_path):
    pytest.importorskip("bids", reason="the extra 'ivadomed' is not installed")
    from bids.layout import index, validation

    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"EchoTime": 0.1}')
    with texts.reading_over_marks(), open(path, encoding="utf-8") as stream:
        assert index.json.load(stream) == validation.json.load(stream) == {"EchoTime": 0.1}
        assert index.json.loads("1") == 1
        assert index.json.JSONDecodeError is json.JSONDecodeError
    assert index.json is json
    assert validation.json is json
    for content, message in (("{", "not valid JSON"), ("[1]", "must be a JSON object"), ("", "not valid JSON")):
        path.write_text(content)
        with texts.reading_over_marks(), pytest.raises(InputError, match=rf"a\.json.*{message}"):
            index.json.load(path.open())
