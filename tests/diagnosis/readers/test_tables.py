import pytest

from dycktune.errors import RunError


def test_lightning_s_train_and_validation_rows_are_told_apart(read, series):
    log = read(
        "epoch,step,train_loss_epoch,train_loss_step,train_perplexity_step,val_loss,val_perplexity\n"
        "0,49,,2.5,12.2,,\n0,99,,2.25,9.5,,\n0,99,,,,2.0,7.4\n0,99,2.4,,,,\n"
    )
    assert series(log, "loss") == [(49, 2.5), (99, 2.25)]
    assert series(log, "eval_loss") == [(99, 2.0)]
    assert series(log, "eval_perplexity") == [(99, 7.4)]
    assert log.format == "Lightning metrics.csv"


def test_lightning_s_second_loader_is_a_set_of_its_own(read):
    log = read("step,train_loss,val_loss/dataloader_idx_0,val_loss/dataloader_idx_1\n1,2.0,1.5,1.75\n")
    assert set(log.rows[0]) == {"step", "loss", "eval_set0_loss", "eval_set1_loss"}


def test_keras_csv_logger_is_counted_in_epochs_as_it_counts_them(read, series):
    log = read("epoch,accuracy,loss,val_accuracy,val_loss\n0,0.6,0.9,0.61,1.0\n1,0.7,0.8,0.7,0.9\n")
    assert (log.axis, log.format) == ("epoch", "Keras CSVLogger")
    assert series(log, "eval_loss") == [(0, 1.0), (1, 0.9)]


def test_wandb_s_export_of_a_chart_keeps_the_value_and_leaves_its_range(read, series):
    log = read(
        '"Step","brisk-pond-1 - train/loss","brisk-pond-1 - train/loss__MIN","brisk-pond-1 - train/loss__MAX"\n'
        '"0","1.5","1.25","1.75"\n"10","1.25","1.0","1.5"\n'
    )
    assert series(log, "loss") == [(0, 1.5), (10, 1.25)]
    assert log.description == "step from 'Step', train loss from 'train/loss', no eval loss"


def test_the_runs_of_one_chart_are_named_and_one_can_be_chosen(read, series):
    table = "Step,first - train/loss,second - train/loss\n0,1.5,2.5\n10,1.25,2.25\n"
    with pytest.raises(RunError, match=r"2 runs in one table.*--columns step=Step,loss='first - train/loss'"):
        read(table)
    assert series(read(table, step="Step", loss="second - train/loss"), "loss") == [(0, 2.5), (10, 2.25)]


def test_a_model_card_s_table_is_found_in_its_text(read, series):
    log = read(
        "---\nlicense: mit\n---\n# A model\n\n| Training Loss | Epoch | Step | Validation Loss | Accuracy |\n"
        "|:-------------:|:-----:|:----:|:---------------:|:--------:|\n"
        "| No log        | 1.0   | 250  | 0.3181          | 0.8981   |\n"
        "| 0.4124        | 2.0   | 1,500  | 0.2181          | 0.9181   |\n\n### Versions\n\n- torch 2.9\n"
    )
    assert series(log, "loss") == [(1500, 0.4124)]
    assert series(log, "eval_loss") == [(250, 0.3181), (1500, 0.2181)]


def test_a_notebook_s_table_is_read_as_it_is_pasted(read, series):
    log = read("Step\tTraining Loss\tValidation Loss\n500\t1.25\t1.5\n1000\t0.75\t1.25\n")
    assert series(log, "loss") == [(500, 1.25), (1000, 0.75)]


@pytest.mark.parametrize(
    "table",
    [
        "run_id,key,value,timestamp,step\nabc,train_loss,1.5,1700000000000,10\nabc,eval_loss,1.25,1700000000100,10\n",
        ",idx,step,value,epoch,run,metric,context.subset\n0,0,10,1.5,0,abc,loss,train\n0,0,10,1.25,0,abc,loss,val\n",
    ],
)
def test_a_table_with_one_value_a_row_is_turned(read, series, table):
    assert series(read(table), "loss") == [(10, 1.5)]
    assert series(read(table), "eval_loss") == [(10, 1.25)]


def test_tensorboard_s_csv_of_one_curve_takes_its_name_from_the_file(read, series):
    table = "Wall time,Step,Value\n1700000000.0,10,1.5\n1700000001.0,20,1.25\n"
    assert series(read(table, name="run-run1-tag-eval_loss.csv"), "eval_loss") == [(10, 1.5), (20, 1.25)]
    assert series(read(table), "loss") == [(10, 1.5), (20, 1.25)]


def test_columns_that_nobody_could_guess_are_asked_for_and_can_be_named(read, series):
    table = "n;main_loss;aux_loss;held out nats\n1;2.0;9.0;2.5\n2;1.5;9.0;2.25\n"
    with pytest.raises(
        RunError, match=r"'main_loss', 'aux_loss' could each be the train loss.*--columns loss="
    ):
        read(table)
    log = read(table, step="n", loss="main_loss", eval_loss="held out nats")
    assert series(log, "loss") == [(1, 2.0), (2, 1.5)]
    assert series(log, "eval_loss") == [(1, 2.5), (2, 2.25)]
    with pytest.raises(RunError, match="no column 'missing'; the log has 'n', 'main_loss'"):
        read(table, loss="missing")


def test_a_table_without_a_loss_says_what_it_has(read):
    with pytest.raises(RunError, match="no row with a loss was recognised"):
        read("a,b\n1,2\n3,4\n")


def test_text_that_windows_wrote_is_text(tmp_path, series):
    from dycktune.diagnosis.readers import read_log

    path = tmp_path / "log.txt"
    path.write_text("step,loss\r\n1,2.0\r\n2,1.5\r\n", encoding="utf-16")
    assert series(read_log(path), "loss") == [(1, 2.0), (2, 1.5)]


@pytest.mark.parametrize(
    "table",
    [
        "epoch     train_loss  valid_loss  accuracy  time    \n0         2.5    2.25    0.6  00:05     \n",
        "   epoch  train_loss  valid_loss\n0      0    2.500000      2.25\n",
    ],
    ids=["fastai", "pandas"],
)
def test_a_table_set_in_columns_is_read(read, series, table):
    assert series(read(table), "loss") == [(0, 2.5)]
    assert series(read(table), "eval_loss") == [(0, 2.25)]


def test_a_table_of_metrics_alone_is_a_log_too(read, series):
    log = read("step,eval_wer,eval_runtime\n100,40.5,3.0\n200,35.25,3.0\n")
    assert series(log, "eval_wer") == [(100, 40.5), (200, 35.25)]
    assert "no eval loss" in log.description
