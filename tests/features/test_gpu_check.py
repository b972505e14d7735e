"""The check of all that computes on a GPU runs on a machine without one, and says so."""

from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "bench" / "gpu.py"


def table(printed):
    rows = [line.split("\t") for line in printed.splitlines() if not line.startswith("#")]
    assert rows[0] == ["part", "what", "value", "unit"]
    return {(part, what): float(value) for part, what, value, _ in rows[1:]}


def test_the_check_of_a_gpu_runs_in_a_small_form_on_the_cpu(shell):
    parts = " ".join(f"--part {name}" for name in ("agreement", "stages", "speed"))
    line = f"python {SCRIPT} --small --backbone mobilenetv2_050 --weights random {parts}"
    done = shell(line, CUDA_VISIBLE_DEVICES="")
    assert done.stdout.startswith("# No GPU is at hand: the CPU computes, and nothing here tells")
    found = table(done.stdout)
    assert found["agreement", "cpu float32: error by norm"] == 0
    assert 0 < found["agreement", "cpu bf16: 1 - smallest cosine"] < 0.002
    assert found["stages", "read"] > 0
    assert found["speed", "float32 engine, images on the device, batches of 2"] > 0
    assert not any("FAILED" in what for _, what in found)
