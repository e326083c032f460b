import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dycktune.cli import main
from dycktune.report import page, read_subject, write_report
from dycktune.report.chart import Axis
from report.runs_on_disk import cell, evaluation, write_run, wrong_reply

SCRIPT = "<script>document.title='owned'</script>"


def html(*paths: Path) -> str:
    return page([read_subject(path) for path in paths])


def text_of(page_html: str) -> str:
    body = page_html.split("<body>")[1].rsplit("<script>", 1)[0]
    return " ".join(re.sub(r"<[^>]*>", " ", body).replace("\xa0", " ").split())


def test_a_report_of_a_run_begins_with_the_model_to_deploy_its_quality_and_the_runs_health(tmp_path):
    run = write_run(tmp_path / "run", evaluation())
    (verdict,) = re.findall(r"<h1>(.*?)</h1>", html(run))
    verdict = verdict.replace("\xa0", " ")
    assert verdict.startswith(
        "Deploy checkpoint-40: it answers 90 of 100 unseen test items right (95 % interval 82.6 to"
    )
    assert verdict.endswith("and its run is healthy.")


def test_a_model_that_answers_nothing_right_is_not_to_be_deployed(tmp_path):
    assert "<h1>Deploy nothing:" in html(write_run(tmp_path / "run", evaluation(right=0)))


def test_a_model_that_is_worse_than_its_base_is_not_to_be_deployed(tmp_path):
    run = write_run(tmp_path / "run", evaluation(right=10), evaluation(right=60, role="base", step=None))
    assert "<h1>Deploy nothing:" in html(run)
    assert "Training made the model worse" in html(run)


def test_a_finding_in_the_chart_links_to_its_sentence(tmp_path):
    rows = [{"step": s, "loss": 1.0 + s / 20 if s > 20 else 3.0 - s / 10} for s in range(1, 60)]
    evals = [{"step": r["step"], "eval_loss": r["loss"] + 0.1} for r in rows if r["step"] % 4 == 0]
    log = tmp_path / "trainer_state.json"
    log.write_text(json.dumps({"log_history": sorted(rows + evals, key=lambda row: row["step"])}))
    found = html(log)
    links = re.findall(r'href="#(finding-\d+)"', found)
    assert links
    assert all(f'id="{link}"' in found for link in links)


def test_text_from_models_names_and_logs_is_never_markup(tmp_path):
    record = wrong_reply(SCRIPT, reply=SCRIPT, question=SCRIPT, solution=SCRIPT, reason=SCRIPT)
    record["first_wrong_step"] = {**record["first_wrong_step"], "right": SCRIPT, "reason": SCRIPT, "line": 1}
    rows = evaluation(items=SCRIPT, wrong_replies=[record], cells=[cell(SCRIPT, "'\"><b>", 2, 1)])
    name = tmp_path / "<img src=x onerror=alert(1)>'\""
    found = html(write_run(name, rows), write_run(tmp_path / "other", rows))
    assert found.count("<script>") == 1
    assert "<img" not in found
    assert "'\"><b>" not in found


def test_the_page_loads_nothing_and_runs_only_its_own_program(tmp_path):
    found = html(write_run(tmp_path / "run", evaluation()))
    assert "default-src 'none'" in found
    assert "unsafe" not in found
    assert not re.findall(r"\b(?:src|srcset|@import|url)\s*[=(]", found.split("<script>")[0])
    assert not re.findall(r"https?://(?!www\.w3\.org)", found)


def test_groups_are_a_heat_map_of_two_names_and_each_cell_has_its_interval(tmp_path):
    cells = [cell("9-16", "3-5", 10, 5), cell("1-8", "3-5", 10, 10), cell("1-8", "1-2", 4, 4)]
    table = re.search(
        r'<table class="heat">.*?</table>',
        html(write_run(tmp_path / "run", evaluation(cells=cells))),
        re.DOTALL,
    )
    assert table
    assert re.findall(r'class="s(\d+)"', table[0]) == ["10", "10", "5"]
    assert "23.7–76.3" in table[0]


def test_the_first_wrong_line_stands_beside_the_right_one_with_the_difference_marked(tmp_path):
    found = html(write_run(tmp_path / "run", evaluation(wrong_replies=[wrong_reply()])))
    assert "# Thought 2: [ needs 2<mark>)</mark>" in found
    assert "# Thought 2: [ needs 2<mark>]</mark>" in found


def test_wrong_replies_of_an_earlier_checkpoint_stand_in_for_a_model_without_any(tmp_path):
    score = {
        "step": 20,
        "n": 4,
        "exact_match": 0.5,
        "ci95": [0, 1],
        "wrong": [0, 1],
        "wrong_replies": [wrong_reply()],
    }
    found = text_of(html(write_run(tmp_path / "run", evaluation(), scores=(score,))))
    assert "These are of step 20, the last checkpoint with some." in found


def test_commands_repeat_the_run_and_each_evaluation(tmp_path):
    run = write_run(tmp_path / "run", evaluation(), evaluation(right=1, role="base", step=None))
    found = text_of(html(run))
    assert f"dycktune train {run}/config.toml" in found
    assert f"dycktune evaluate {run} --count 100 --seed 0" in found
    assert f"dycktune evaluate {run} --base --count 100 --seed 0" in found


def test_a_log_of_another_program_has_the_doctors_page_alone(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"{step},{3 / step}" for step in range(1, 40)]
    log.write_text("\n".join(["step,loss", *rows]))
    found = html(log)
    assert "What was read" in found
    assert "The checkpoints" not in found


def test_runs_side_by_side_name_the_best_only_if_the_same_items_tell(tmp_path):
    good = write_run(tmp_path / "good", evaluation(right=95))
    near = write_run(tmp_path / "near", evaluation(right=94))
    bad = write_run(tmp_path / "bad", evaluation(right=20), rate=0.5)
    assert "<h1>good is the best:" in html(bad, good)
    assert "<h1>No run is clearly the best:" in html(good, near)
    other = write_run(tmp_path / "other", evaluation(items="other items", right=10))
    assert "is the best" not in html(good, other)


def test_runs_side_by_side_show_the_settings_that_differ(tmp_path):
    found = text_of(html(write_run(tmp_path / "a"), write_run(tmp_path / "b", rate=0.5)))
    assert "optim.learning_rate 0.001 0.5" in found
    assert "model.base builtin" not in found


def test_a_log_without_a_recipe_beside_runs_makes_no_setting_differ(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,loss\n" + "".join(f"{step},{3 / step}\n" for step in range(1, 40)))
    assert "Settings that differ" not in html(write_run(tmp_path / "a"), write_run(tmp_path / "b"), log)


def test_a_logarithmic_axis_of_less_than_two_decades_has_more_than_one_label():
    assert len(Axis(0.55, 5.2, logarithmic=True).ticks()) > 2


def test_the_command_writes_into_the_run_folder(tmp_path, capsys):
    run = write_run(tmp_path / "run", evaluation())
    assert main(["report", str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_without_a_log_is_one_plain_line(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_place_that_cannot_be_written_is_one_plain_line(tmp_path, capsys):
    run = write_run(tmp_path / "run", evaluation())
    assert main(["report", str(run), "--out", str(tmp_path / "missing" / "report.html")]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_report_needs_no_torch(tmp_path):
    run = write_run(tmp_path / "run", evaluation())
    program = f"from dycktune.cli import main; import sys; main(['report', {str(run)!r}])"
    program += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_long_log_stays_small(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,loss\n" + "".join(f"{i},{2 + (i * 7919 % 100) / 100}\n" for i in range(1, 50_001)))
    out = write_report([log], tmp_path / "report.html")
    assert out.stat().st_size < 500_000


@pytest.mark.parametrize("role", ["tuned", "base"])
def test_a_repeated_evaluation_is_shown_once(tmp_path, role):
    step = None if role == "base" else 40
    rows = [evaluation(right=right, role=role, step=step) for right in (50, 60)]
    assert len(read_subject(write_run(tmp_path / "run", *rows)).evaluations) == 1
