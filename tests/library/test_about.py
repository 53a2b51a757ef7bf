"""The table `about` of a library, which every process that writes it may write."""

from seehear.library.tables import LibraryTables


def test_a_key_that_two_processes_set_is_there_once(tmp_path):
    """The second knows the table as it was before the first wrote."""
    one, two = LibraryTables.create(tmp_path / "lib"), LibraryTables.open(tmp_path / "lib")
    assert "k" not in two.about()
    one.set_about("k", "1")
    two.set_about("k", "2")
    rows = LibraryTables.open(tmp_path / "lib").table("about").to_arrow().to_pylist()
    assert [row["value"] for row in rows if row["key"] == "k"] == ["2"]
