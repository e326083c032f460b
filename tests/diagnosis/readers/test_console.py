import pytest

BAR = " {percent:>2}%|██▏       | {at}/{total} [00:10<00:40,  2.00it/s]"


def bar(at, total):
    return BAR.format(percent=100 * at // total, at=at, total=total)


def row(epoch, loss, text=False):
    return str({"loss": str(loss), "epoch": str(epoch)} if text else {"loss": loss, "epoch": epoch})


def test_the_bar_that_is_drawn_again_after_a_row_has_its_step(read, series):
    lines = [bar(0, 40)]
    for step in (10, 20, 30, 40):
        lines += [bar(step - 1, 40), row(step / 20, 2.0 - step / 100), bar(step, 40)]
        lines += [
            bar(1, 5),
            bar(5, 5),
            f"{{'eval_loss': '{1 + step / 100}', 'epoch': '{step / 20}'}}",
            bar(step, 40),
        ]
    log = read("\r".join(lines))
    assert series(log, "loss") == [(10, 1.9), (20, 1.8), (30, 1.7), (40, 1.6)]
    assert series(log, "eval_loss") == [(10, 1.1), (20, 1.2), (30, 1.3), (40, 1.4)]
    assert (log.state["max_steps"], log.exact_steps) == (40, True)
    assert log.description.startswith("step from the progress bar, train loss from 'loss'")


def test_bars_of_other_work_are_not_the_training_s(read, series):
    lines = ["Map: " + bar(300, 4000).strip(), "Loading checkpoint shards: " + bar(2, 2).strip()]
    lines += [row(0.5, 2.0), bar(10, 40), "Val: " + bar(7, 7).strip(), row(1.0, 1.5), bar(20, 40)]
    assert series(read("\n".join(lines)), "loss") == [(10, 2.0), (20, 1.5)]


def test_rows_and_bars_that_reached_the_file_in_bunches_are_placed_by_epoch(read, series):
    lines = [bar(step, 400) for step in range(0, 401, 10)]
    lines += [row(step / 200, 2.0) for step in range(10, 401, 10)]
    lines += ["{'train_runtime': 100.0, 'train_steps_per_second': 4.0, 'train_loss': 2.0, 'epoch': 2.0}"]
    log = read("\n".join(lines))
    assert [step for step, _ in series(log, "loss")] == list(range(10, 401, 10))
    assert not log.exact_steps
    assert "200 steps each" in log.description


def test_rounded_epochs_still_give_each_row_its_own_step(read, series):
    lines = ["  Num examples = 48,000", "  Num Epochs = 1", "  Total train batch size (w. parallel) = 8"]
    lines += ["  Total optimization steps = 6,000"]
    lines += [row(round(step / 6000, 2), 2.0, text=True) for step in range(20, 6001, 20)]
    log = read("\n".join(lines))
    assert [step for step, _ in series(log, "loss")] == list(range(20, 6001, 20))
    assert log.state["max_steps"] == 6000


def test_a_run_cut_short_by_max_steps_is_still_placed(read, series):
    lines = ["   Num examples = 51,760 | Num Epochs = 1 | Total steps = 60"]
    lines += ["    Data Parallel GPUs = 1 | Total batch size (2 x 4 x 1) = 8"]
    lines += [row(0.0, 2.0) for _ in range(60)]
    lines += ["{'train_runtime': 100.0, 'train_steps_per_second': 0.6, 'train_loss': 2.0, 'epoch': 0.01}"]
    assert [step for step, _ in series(read("\n".join(lines)), "loss")] == list(range(1, 61))


def test_without_any_hint_ten_steps_a_row_are_assumed_and_the_log_says_so(read, series):
    log = read(
        "\n".join(row(0.04 * i, 2.0, text=True) for i in range(1, 6))
        + "\n{'eval_loss': '1.5', 'epoch': '0.2'}"
    )
    assert [step for step, _ in series(log, "loss")] == [10, 20, 30, 40, 50]
    assert series(log, "eval_loss") == [(50, 1.5)]
    assert not log.exact_steps
    assert "10 steps a row assumed" in log.remarks[0]


def test_logging_steps_among_the_printed_arguments_is_the_distance_of_the_rows(read, series):
    arguments = "TrainingArguments(\nlogging_steps=25,\nmetric_for_best_model=eval_wer,\ngreater_is_better=False,\n)\n"
    log = read(arguments + "\n".join(row(0.04 * i, 2.0) for i in range(1, 4)))
    assert [step for step, _ in series(log, "loss")] == [25, 50, 75]
    assert log.state["metric_for_best_model"] == "eval_wer"
    assert log.state["greater_is_better"] is False


def test_after_a_resume_the_steps_go_back(read, series):
    epochs = [0.1, 0.2, 0.3, 0.4, 0.25, 0.35, 0.45]
    lines = ["Num Epochs = 1", "Total optimization steps = 1000", *(row(epoch, 2.0) for epoch in epochs)]
    assert [step for step, _ in series(read("\n".join(lines)), "loss")] == [100, 200, 300, 400, 250, 350, 450]


def test_ms_swift_s_rows_say_their_own_step(read, series):
    line = (
        "Train:   0%| | 10/58114 [01:52<3d]{'loss': 1.5, 'epoch': 0.0, 'global_step/max_steps': '10/58114'}"
    )
    log = read(line + "\n" + line.replace("10/", "20/"))
    assert series(log, "loss") == [(10, 1.5), (20, 1.5)]
    assert log.format == "ms-swift console text"


@pytest.mark.parametrize("value", ["nan", "np.float64(nan)", "tensor(nan, device='cuda:0')", "'nan'"])
def test_nan_is_read_however_python_prints_it(read, value):
    log = read(
        f"{{'loss': 1.0, 'grad_norm': {value}, 'epoch': 0.1}}\n{{'loss': 0.5, 'grad_norm': 1.0, 'epoch': 0.2}}"
    )
    assert log.rows[0]["grad_norm"] != log.rows[0]["grad_norm"]


def test_words_of_the_logger_and_of_the_terminal_around_a_row_do_not_matter(read, series):
    colour = "\x1b[32m2026-01-01 10:00:00\x1b[0m | INFO | [rank0] "
    log = read(f"{colour}{row(0.5, 2.0)} done\n{colour}{row(1.0, 1.5)}\n")
    assert [value for _, value in series(log, "loss")] == [2.0, 1.5]


def test_json_inside_the_lines_of_a_logger_is_read_too(read, series):
    log = read(
        '2023-01-01 | INFO | train_inner | {"epoch": 1, "loss": "12.1", "num_updates": "100", "gnorm": "3.2"}\n'
        '2023-01-01 | INFO | valid | {"epoch": 1, "valid_loss": "9.5", "valid_num_updates": "100"}\n'
    )
    assert series(log, "loss") == [(100, 12.1)]
    assert series(log, "eval_loss") == [(100, 9.5)]
    assert series(log, "grad_norm") == [(100, 3.2)]


def test_the_bars_that_colab_leaves_without_a_picture_count_too(read, series):
    log = read(
        " 16% 33/204 [01:06<05:30,  1.94s/it]{'loss': '9.9', 'epoch': '0.5'}\n 17% 34/204 [01:07<05:30,  1.94s/it]\n"
        " 89% 8/9 [00:03<00:00,  2.44it/s]\n{'eval_loss': '9.75', 'epoch': '0.5'}\n"
        " 17% 34/204 [01:07<05:30,  1.94s/it]\n"
        "{'loss': '9.5', 'epoch': '1'}\n 33% 68/204 [01:07<05:30,  1.94s/it]\n"
    )
    assert series(log, "loss") == [(34, 9.9), (68, 9.5)]
    assert series(log, "eval_loss") == [(34, 9.75)]
