"""The steward's process: what it sets up, its jobs, and how it ends. `SERINUS_RUN` names the server's run folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Mapping

from serinus.serving.home import Home, RunFolder, current_run_folder
from serinus.serving.settings import Settings
from serinus.serving.steward.acknowledge_rollbacks import AcknowledgeRollbacks
from serinus.serving.steward.adopt_boards import AdoptBoards
from serinus.serving.steward.cap_keys import CapKeys
from serinus.serving.steward.cap_log import CapLog
from serinus.serving.steward.carry_vetoes import CarryVetoes
from serinus.serving.steward.clear_run_folders import ClearRunFolders
from serinus.serving.steward.compact_log import CompactLog
from serinus.serving.steward.deliver_notifications import DeliverNotifications
from serinus.serving.steward.evaluate_alerts import EvaluateAlerts
from serinus.serving.steward.first_records import FirstRecords
from serinus.serving.steward.hold_lease import HoldLease
from serinus.serving.steward.job import Job
from serinus.serving.steward.join_answers import JoinAnswers
from serinus.serving.steward.join_ground_truth import JoinGroundTruth
from serinus.serving.steward.join_pairs import JoinPairs
from serinus.serving.steward.judge_custom_monitors import JudgeCustomMonitors
from serinus.serving.steward.judge_drift import JudgeDrift
from serinus.serving.steward.judge_rollouts import JudgeRollouts
from serinus.serving.steward.keep_shadow import KeepShadow
from serinus.serving.steward.learn_references import LearnReferences
from serinus.serving.steward.measure_performance import MeasurePerformance
from serinus.serving.steward.preflight import Preflight
from serinus.serving.steward.publish_monitors import PublishMonitors
from serinus.serving.steward.publish_snapshot import PublishSnapshot
from serinus.serving.steward.restore_records import RestoreRecords
from serinus.serving.steward.send_events import SendEvents
from serinus.serving.steward.ship_tallies import ShipTallies
from serinus.serving.steward.ship_ticks import ShipTicks
from serinus.serving.steward.start_retraining import StartRetraining
from serinus.serving.steward.steward import Steward
from serinus.serving.steward.tell_events import TellEvents
from serinus.serving.steward.tell_reverse import TellReverse
from serinus.serving.steward.tell_traffic import TellTraffic
from serinus.serving.steward.watch_heartbeats import WatchHeartbeats
from serinus.serving.steward.watch_requests import WatchRequests
from serinus.serving.steward.watch_rollouts import WatchRollouts
from serinus.serving.telemetry.logs import end_logging, set_up_logging
from serinus.serving.telemetry.metrics import Family, collect
from serinus.serving.telemetry.outage import STEWARDS_S
from serinus.serving.telemetry.push import MetricsPush
from serinus.serving.telemetry.resource import resource_of
from serinus.serving.telemetry.sdk_metrics import SdkMetrics, users_meters
from serinus.serving.telemetry.variables import adopt

_NICENESS = 10


def all_jobs() -> list[Job]:
    """Every job, in the order in which those that are due together run: what was lost first, what is new last."""
    joined = JoinGroundTruth()
    return [RestoreRecords(), FirstRecords(), CarryVetoes(), PublishSnapshot(), AcknowledgeRollbacks(), HoldLease(),
            ShipTallies(), KeepShadow(), JoinPairs(), JoinAnswers(), Preflight(), JudgeRollouts(), TellReverse(),
            ShipTicks(), LearnReferences(), JudgeDrift(), JudgeCustomMonitors(), joined,
            MeasurePerformance(joined), PublishMonitors(), WatchRequests(), WatchRollouts(), EvaluateAlerts(),
            DeliverNotifications(), StartRetraining(), TellEvents(), SendEvents(), TellTraffic(), AdoptBoards(),
            WatchHeartbeats(), CompactLog(), CapLog(), CapKeys(), ClearRunFolders()]


def work() -> int:
    """Work until SIGTERM, or until the process that started this one ends."""
    settings = Settings.handed_over()
    adopt(settings.telemetry)
    resource = resource_of(f"{os.getpid()}-steward")
    set_up_logging(settings.telemetry.log_format, resource)
    run = current_run_folder(Home(settings.home))
    if not hold(run):
        return 0  # another steward serves this server already
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    steward = Steward(settings, run, all_jobs())
    signal.signal(signal.SIGTERM, steward.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent says when to stop
    push = _metrics(resource, lambda: collect(
        run.boards, Home(settings.home).snapshot, settings.telemetry.cost_per_cpu_hour))
    steward.serve_for_ever()
    _say_farewell(push)
    return 0


def _metrics(resource: Mapping[str, str], gather: Callable[[], list[Family]]) -> MetricsPush | SdkMetrics:
    """By the user's own MeterProvider where there is one, else by our exporter."""
    meters = users_meters()
    return MetricsPush(resource, gather) if meters is None else SdkMetrics(meters, gather)


def _say_farewell(push: MetricsPush | SdkMetrics) -> None:
    """The last counts and log lines, at once: the workers have waited for the same backend before."""
    telling = threading.Thread(target=end_logging, args=(STEWARDS_S,), daemon=True)
    telling.start()
    push.close(STEWARDS_S)
    telling.join(STEWARDS_S)


def hold(run: RunFolder) -> bool:
    """Take the lock that only one steward of a server holds, for the rest of this process's life."""
    file = os.open(run.steward_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    return True

