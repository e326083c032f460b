import pytest


def test_torchtune_s_lines_are_read(read, series):
    log = read(
        "Step 1 | loss:2.5 lr:1e-05 tokens_per_second_per_gpu:1200 \n"
        "Step 2 | loss:2.25 lr:2e-05 tokens_per_second_per_gpu:9 \n"
    )
    assert series(log, "loss") == [(1, 2.5), (2, 2.25)]
    assert series(log, "learning_rate") == [(1, 1e-5), (2, 2e-5)]


def test_nanotron_s_thousands_and_its_planned_steps_are_read(read, series):
    line = (
        "01/01/2026 10:00:00 [INFO|DP=0|PP=0|TP=0|node-1]: iteration: {0} / 100 | consumed_tokens: 93.2K | "
        "time_per_iteration_ms: 90.4 | tokens_per_sec: 11.3K | global_batch_size: 1.02K | grad_norm: 1.5K | "
        "lr: 3.3e-05 | lm_loss: 9.25 | model_tflops_per_gpu: 0.784"
    )
    log = read(line.format(1) + "\n" + line.format(91))
    assert series(log, "loss") == [(1, 9.25), (91, 9.25)]
    assert series(log, "grad_norm") == [(1, 1500), (91, 1500)]
    assert (log.state["max_steps"], log.state["global_step"]) == (100, 91)


def test_megatron_s_validation_line_belongs_to_the_iteration_it_names(read, series):
    log = read(
        " iteration      100/  500000 | consumed samples: 25600 | elapsed time per iteration (ms): 250.1 | "
        "learning rate: 6E-05 | lm loss: 5.25E+00 | loss scale: 1.0 | grad norm: 1.5 | number of nan iterations: 0 |\n"
        "-----\n validation loss at iteration 100 | lm loss value: 4.5E+00 | lm loss PPL: 90.0 | \n"
    )
    assert series(log, "loss") == [(100, 5.25)]
    assert series(log, "grad_norm") == [(100, 1.5)]
    assert series(log, "eval_loss") == [(100, 4.5)]


def test_nanogpt_s_two_kinds_of_lines_share_one_axis(read, series):
    log = read(
        "number of parameters: 10.65M\nstep 0: train loss 4.5, val loss 4.25\n"
        "iter 0: loss 4.0, time 30.00ms, mfu -100.00%\n"
        "iter 10: loss 3.5, time 120.32ms, mfu 18.31%\nstep 20: train loss 2.0, val loss 2.5\n"
    )
    assert series(log, "loss") == [(0, 4.0), (10, 3.5)]
    assert series(log, "eval_loss") == [(0, 4.25), (20, 2.5)]


def test_steps_that_begin_again_with_every_epoch_are_added_up(read, series):
    log = read(
        "Epoch [1/2], Step [300/600], Loss: 0.5\nEpoch [1/2], Step [600/600], Loss: 0.4\nEpoch 1: Val Loss: 0.45\n"
        "Epoch [2/2], Step [300/600], Loss: 0.3\nEpoch [2/2], Step [600/600], Loss: 0.2\nEpoch 2: Val Loss: 0.35\n"
    )
    assert series(log, "loss") == [(300, 0.5), (600, 0.4), (900, 0.3), (1200, 0.2)]
    assert series(log, "eval_loss") == [(600, 0.45), (1200, 0.35)]


def test_keras_console_gives_one_row_an_epoch(read, series):
    log = read(
        "Epoch 1/2\n 100/1875 [>......] - ETA: 4s - loss: 1.0\b\b\b\b"
        "1875/1875 [======] - 5s 3ms/step - loss: 0.5 - accuracy: 0.9 - val_loss: 0.25 - val_accuracy: 0.95\n"
        "Epoch 2/2\n"
        "1875/1875 ━━━━━━━━━━━━ 5s 3ms/step - accuracy: 0.97 - loss: 0.25 - val_accuracy: 0.96 - val_loss: 0.3\n"
    )
    assert log.axis == "epoch"
    assert series(log, "loss") == [(1, 0.5), (2, 0.25)]
    assert series(log, "eval_accuracy") == [(1, 0.95), (2, 0.96)]


def test_the_loss_beside_a_progress_bar_has_the_bar_s_step(read, series):
    lines = [
        f"Epoch {e}:  50%|█████     | {at}/100 [00:10<01:10, 12.0it/s, loss=0.{e}{at}]"
        for e in (1, 2)
        for at in (50, 100)
    ]
    assert [step for step, _ in series(read("\r".join(lines)), "loss")] == [50, 100, 150, 200]


def test_a_hand_written_log_without_steps_is_counted_and_the_log_says_so(read, series):
    stamp = "2025-03-02 05:16:20,962 - INFO - "
    log = read(
        f"{stamp}##### Epoch 1 #####\n{stamp}Epoch 1 - Batch loss: 12.5\n{stamp}Epoch 1 - Batch loss: 9.5\n"
        f"{stamp}Epoch 1 - Average Train Loss: 11.0\n{stamp}Epoch 1 - Validation BLEU: BLEU-1 71.65, BLEU-2 65.75\n"
        f"{stamp}Epoch 1 - New best model saved with BLEU-2: 65.75\n{stamp}Epoch 2 - Batch loss: 8.5\n"
    )
    assert series(log, "loss") == [(1, 12.5), (2, 9.5), (3, 8.5)]
    assert series(log, "eval_bleu_2") == [(2, 65.75)]
    assert not log.exact_steps
    assert "step by counting the train rows" in log.description


@pytest.mark.parametrize(
    "line",
    [
        "step={0} loss=2.5 lr=1e-4 val_loss=2.25",
        "iter: {0} | Training Loss = 2.5 | Validation Loss = 2.25",
        "[train] global_step: {0}, loss: tensor(2.5, device='cuda:0'), eval/loss 2.25",
        "INFO:root:update {0}/100: train/loss 2.5 valid_loss 2.25 (best 1.0)",
    ],
)
def test_names_and_numbers_are_read_in_whatever_way_they_are_joined(read, series, line):
    log = read(line.format(10) + "\n" + line.format(20))
    assert series(log, "loss") == [(10, 2.5), (20, 2.5)]
    assert series(log, "eval_loss") == [(10, 2.25), (20, 2.25)]


def test_what_is_about_no_step_is_no_row(read, series):
    log = read(
        "batch size: 8\nloss scale: 65536\nbest val loss: 1.0\nwarmup_steps: 100\nstep 1 loss 2.5\nSaved at step 1\n"
    )
    assert len(log.rows) == 1


def test_a_bar_of_the_validation_does_not_move_the_run(read, series):
    lines = [
        f"epoch {e}: 100%|█████| 150/150 [00:03<00:00, 44.5it/s, loss=0.{e}]\n"
        f"valid: 100%|█████| 39/39 [00:00<00:00, 116.6it/s, loss=0.4{e}]"
        for e in (1, 2)
    ]
    log = read("\n".join(lines))
    assert series(log, "loss") == [(150, 0.1), (300, 0.2)]
    assert series(log, "eval_loss") == [(150, 0.41), (300, 0.42)]


def test_an_evaluation_that_a_bar_goes_on_showing_counts_once(read, series):
    line = "Epoch 0:  50%|█████     | {}/100 [00:10<00:10,  9.90it/s, train_loss_step=0.9, val_loss={}]"
    log = read("\r".join(line.format(*shown) for shown in ((10, 0.8), (20, 0.8), (30, 0.7))))
    assert series(log, "eval_loss") == [(10, 0.8), (30, 0.7)]
    assert len(series(log, "loss")) == 3


def test_the_loss_on_lines_below_its_step_belongs_to_it(read, series):
    log = read(
        "".join(
            f"[step={s}/300,epoch=0]\n    train/CrossEntropyLoss=2.5\n    lr=0.1\n" for s in (100, 200, 300)
        )
    )
    assert series(log, "loss") == [(100, 2.5), (200, 2.5), (300, 2.5)]


@pytest.mark.parametrize(
    "line",
    [
        "Iter {0}: Train loss 2.500, Learning Rate 1.000e-05, It/sec 0.501, Trained Tokens 1000, Peak mem 5.1 GB",
        "10/01 12:00:00 - mmengine - INFO - Iter(train) [  {0}/1000]  lr: 1.0e-05  eta: 1:00:00  loss: 2.5000",
        "Epoch [1][{0}/1000]\tlr: 1.0e-05, eta: 1:00:00, time: 0.5, memory: 3000, loss: 2.5",
        "[ INFO] - loss: 2.5, learning_rate: 1e-05, global_step: {0}, interval_runtime: 5.2, epoch: 0.05",
        "Epoch 1 | iter 8 step {0} | loss train: 2.500, val: n/a, lr: 1e-05 | iter time: 300.00 ms (step)",
    ],
    ids=["mlx", "xtuner", "mmcv", "paddle", "litgpt"],
)
def test_lines_of_other_trainers_are_read(read, series, line):
    log = read(line.format(10) + "\n" + line.format(20))
    assert series(log, "loss") == [(10, 2.5), (20, 2.5)]
    assert series(log, "learning_rate") == [(10, 1e-5), (20, 1e-5)]
