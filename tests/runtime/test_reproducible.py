"""The same training gives the same bits: resumed after kills, and in another process by a module generated anew."""

from __future__ import annotations

from kill_and_resume import differences, kill_and_resume, train_to_the_end, write_module

from derivgen import runtime

KILLS, SEED = 4, 1


def test_the_same_bits_after_kills_and_by_other_machine_code(tmp_path, monkeypatch):
    """One test, for compiling takes long: kills, then the module anew in a folder and a process of its own."""
    left, differing = kill_and_resume(tmp_path, KILLS, SEED)
    assert len(left) == KILLS and differing == []
    assert all(one.half_written <= 1 and one.too_many <= 1 for one in left)

    (tmp_path / "elsewhere").mkdir()
    module = write_module(tmp_path / "elsewhere" / "resumed_kernels.py")
    assert module.read_bytes() == (tmp_path / module.name).read_bytes()
    epochs = len(runtime.read_history(tmp_path / "whole" / "history.jsonl"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(module.parent))
    train_to_the_end(module, tmp_path / "again", SEED, epochs)
    assert list(module.parent.glob("derivgen/*.epoch.*")), "the module was not compiled anew"
    assert differences(tmp_path / "again", tmp_path / "whole") == []
