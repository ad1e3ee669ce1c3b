"""The objects in manifests: documents, lists of them, and what is passed over.

Pure. YAML streams and JSON; each document that is no YAML costs itself alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from kuber_cron.common.diagnostics import Diagnostic
from kuber_cron.common.formats import yaml_nodes
from kuber_cron.common.formats.cronjob.import_report import SourcePosition
from kuber_cron.common.formats.cronjob.typed_values import TypedValue, WrongTypeError

# A pod's deepest fields lie at 20; a List adds two.
_MAX_DEPTH = 60
_TEMPLATE = re.compile(r"\{\{.*\}\}|\$\{\w+\}")
_BATCH = ("batch/v1", "batch/v1beta1", "batch/v2alpha1")


@dataclass(slots=True)
class ManifestObjects:
    """The objects of all manifests.

    Attributes:
        cronjobs: The CronJobs with their documents, in the order of the files.
        maps: The data of ConfigMaps by namespace and name.
        diagnostics: Documents that cannot be read, and kinds that are passed over, the latter once a kind.
    """

    cronjobs: list[tuple[SourcePosition, TypedValue]] = field(default_factory=list)
    maps: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    _others: dict[str, tuple[int, SourcePosition, TypedValue]] = field(default_factory=dict)

    def read(self, content: bytes, source: str) -> None:
        """Take in one file."""
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if text.lstrip().startswith("{"):
            text = yaml_nodes.of_json(text)
        for before, part in yaml_nodes.documents(text):
            position = SourcePosition(source, part.split("\n"), before)
            try:
                root = yaml_nodes.compose(part, max_depth=_MAX_DEPTH)
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                self.diagnostics.append(_broken(error, position))
                continue
            if root is not None:
                self._take(TypedValue(root, "", root), position)

    def end(self) -> None:
        """Report what was passed over."""
        for kind, (count, position, value) in self._others.items():
            what = f"{kind} is passed over" if count == 1 else f"{kind} ({count} of them) is passed over"
            self.diagnostics.append(position.diagnostic("KC622", value, what))
        self._others.clear()

    def _take(self, value: TypedValue, position: SourcePosition, listed: str = "") -> None:
        try:
            fields = value.fields()
            kind = fields["kind"].text() if "kind" in fields else listed
            version = fields["apiVersion"].text() if "apiVersion" in fields else ""
            if kind == "List" or (kind == "CronJobList" and version in {"", *_BATCH}):
                for item in value.field("items").items():
                    self._take(item, position, "CronJob" if kind == "CronJobList" else "")
            elif kind == "CronJob" and version in {"", *_BATCH}:
                self.cronjobs.append((position, value))
            elif kind == "ConfigMap":
                self._take_map(fields)
            else:
                self._pass_over(f"kind {kind}" if kind else "what has no kind", position, value)
        except WrongTypeError as error:
            self.diagnostics.append(position.diagnostic("KC502", error.value, error.message, error.hint))

    def _take_map(self, fields: Mapping[str, TypedValue]) -> None:
        metadata = fields["metadata"].fields() if "metadata" in fields else {}
        if "name" in metadata:
            namespace = metadata["namespace"].text() if "namespace" in metadata else ""
            data = fields["data"].fields() if "data" in fields else {}
            found = {key: value.text() for key, value in data.items()}
            self.maps[namespace, metadata["name"].text()] = found

    def _pass_over(self, what: str, position: SourcePosition, value: TypedValue) -> None:
        count, first_position, first = self._others.get(what, (0, position, value))
        self._others[what] = (count + 1, first_position, first)


def _broken(error: Exception, position: SourcePosition) -> Diagnostic:
    line, col, what, hint = yaml_nodes.problem(error, list(position.lines))
    if _TEMPLATE.search("\n".join(position.lines)):
        hint = "it looks like a template: render it first (helm template, kubectl kustomize)"
    mark = yaml.Mark("", 0, line - 1, col - 1, None, 0)
    node = yaml.ScalarNode("", "", mark, mark)
    return position.diagnostic("KC501", TypedValue(node, "", node), f"not YAML: {what}", hint)


def name_of(position: SourcePosition, value: TypedValue) -> str:
    """Return file and line of an object, for messages about another one."""
    return f"{position.source}:{position.before + value.line + 1}"
