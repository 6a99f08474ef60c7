"""Job: let this host's workers, commands and pages know what the monitors say."""

from __future__ import annotations

import orjson

from serinus.serving.monitoring import MonitorFiles, View
from serinus.serving.references import profile_bytes
from serinus.serving.steward.job import Shared
from serinus.serving.steward.judge_custom_monitors import VIEW as CUSTOM
from serinus.serving.steward.judge_drift import VIEW, watched_versions


class PublishMonitors:
    """Each steward for its host, from the store; what is not watched any more goes."""

    name = "publish_monitors"
    period_s = 1.0

    def __init__(self) -> None:
        self._published: dict[str, tuple[int, int]] = {}

    def run(self, shared: Shared) -> None:
        """See `Job.run`."""
        files = MonitorFiles(shared.home.monitors)
        wanted = {f"{model}:{version}" for model, version, _ in watched_versions(shared)}
        views = {document.key: document for document in shared.store.documents(VIEW) if document.key in wanted}
        if not shared.settings.monitors.enabled:
            views = {}
        custom = {document.key: document for document in shared.store.documents(CUSTOM)}
        for key, document in views.items():
            added = custom.get(key)
            revisions = document.revision, added.revision if added is not None else 0
            if self._published.get(key) != revisions:
                judged = orjson.loads(added.body) if added is not None else []
                self._publish(shared, files, View({**orjson.loads(document.body), "custom": judged}))
                self._published[key] = revisions
        if self._published.keys() - views.keys():
            self._published = {key: revision for key, revision in self._published.items() if key in views}
        kept = [View(orjson.loads(document.body)) for document in views.values()]
        files.keep_only({(view.model, view.version) for view in kept}, {view.digest for view in kept if view.digest})

    def _publish(self, shared: Shared, files: MonitorFiles, view: View) -> None:
        """The profile first: whoever reads the view finds it."""
        if view.digest is not None and not files.has_profile(view.digest):
            data = profile_bytes(shared.store, shared.registry, view.model, view.digest)
            if data is None:
                return
            files.publish_profile(view.digest, data)
        files.publish(view)
