"""Every constant of the doctor, with the reason for it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Pure numbers: no threshold has the scale of a loss, so the unit of a loss never matters."""

    min_evals: int = 5
    """Evaluations below which the shape of the eval curve is not judged: fall, turn and confirmed rise need five."""

    min_train: int = 10
    """Train rows below which a run without evaluations is not judged."""

    few_rows: int = 3
    """Rows whose median is a level, and the fewest that make a beginning or an end: one or two may be accidents."""

    noise_rows: int = 20
    """Train rows below which their noise is taken as none: each is a mean over many steps, and the trend would pass
    for noise."""

    floor: float = 1e-3
    """Share of the first loss below which differences mean nothing: at 1e-5 a ratio of 3 is rounding."""

    rise: float = 0.05
    """Smallest rise of the eval loss called a rise: below 5 % readers of the same curve disagree."""

    sigmas: float = 3.0
    """Standard errors beyond which a change is not noise: the usual three-sigma rule, also for outliers."""

    train_window: float = 0.05
    """Share of the train rows a running median covers: long enough for batch noise, short enough for a phase."""

    train_share: float = 0.3
    """In a joint rise, the train loss must rise at least this share of what eval did (both in log)."""

    side_sigmas: float = 2.0
    """Standard errors of train's rise once eval has risen: it then only decides between two causes."""

    memorised: float = 0.1
    """Train loss, as a share of its level at the best step, below which the training set is being memorised."""

    collapsed: float = 0.2
    """The same as a share of its first level, for an eval loss too noisy to tell by itself."""

    noisy_rise: float = 0.2
    """Rise of the later evaluations over the lowest that counts where single ones fall below the tolerance again."""

    drop_share: float = 1.5
    """How much larger than the run's own latest falls a last fall must be to be called out of line."""

    drop_window: int = 5
    """Evaluations before the last that say what it should have been: a median line survives one outlier in five."""

    excursion: float = 0.3
    """Rise above its trough at which the train level has left it, where eval or the log's end confirms it."""

    spike: float = 1.0
    """The same for what nothing confirms, and for single rows, which scatter more: they must double."""

    spike_floor: float = 0.05
    """Share of the first train loss below which a spike is one odd batch of a memorised set."""

    level_sigmas: float = 5.0
    """Standard errors of such a rise of the level: above three, as it is measured from the lowest of many."""

    spike_sigmas: float = 8.0
    """Noise units of a spike of single rows: above the 6 of OLMo's skip-step rule, as a finished log has thousands of
    chances."""

    spike_count: int = 3
    """Short spikes above which they are the scatter of the data, such as a rare kind of long example."""

    warm_up: float = 0.1
    """Share of a run in which a spike that comes back belongs to the warm-up, which has the high rates and large
    gradients of a beginning."""

    metric_change: float = 0.005
    """Smallest change of a metric, as a share of its largest value, that is worth another checkpoint: half a point of
    100."""

    plateau: float = 0.05
    """Fall over the whole run, of train and eval alike, below which nothing was learned."""

    slow_fall: float = 0.01
    """Fall of eval over the second half of a run, down to its last three evaluations, that is learning all the same:
    hardly a plateau falls by as much so steadily (1 of 143 made ones)."""

    lr_jump: float = 1.5
    """Factor between two rows by which a learning rate after its peak jumps up only at a resume or a restart."""

    norm_spike: float = 10.0
    """Gradient norm, as a multiple of its median, that is worth a note."""

    scale_gap: float = 3.0
    """Train and eval levels further apart than this factor do not measure the same sum."""

    whole: float = 0.1
    """How near to a power of two a ratio of train to eval loss must come to be read as gradient accumulation."""


DEFAULT = Thresholds()
