"""The variables of a container: which are known, and which the workers must have.

Pure. Values of ConfigMaps are copied where the input holds these; values of Secrets never are, not even if the input
holds them, for a job file is no place for them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kuber_cron.common.diagnostics import shown
from kuber_cron.common.formats.cronjob import variable_expansion
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue, WrongTypeError

ConfigMaps = Mapping[tuple[str, str], Mapping[str, str]]
"""The data of ConfigMaps by namespace and name."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Names that stand in $(…) and in no list of variables: of a source whose keys are not known, if they look so.
_PROBABLE = re.compile(r"\$\(([A-Z_][A-Z0-9_]*)\)", re.ASCII)


@dataclass(slots=True)
class ContainerEnv:
    """A container's variables.

    Attributes:
        known: Those with a value that is known.
        elsewhere: Those whose value the workers must have.
        has_unknown_names: Whether there are more, of a source whose keys are not known.
    """

    known: dict[str, str] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    has_unknown_names: bool = False

    def expand(self, text: str) -> list[variable_expansion.Part]:
        """Return the parts of ``text``, its ``$(NAME)`` apart."""
        elsewhere = {name for name in self.elsewhere if _IDENTIFIER.fullmatch(name)}
        if self.has_unknown_names:
            elsewhere |= set(_PROBABLE.findall(text))
        return variable_expansion.expand(text, self.known, elsewhere)

    def set_known(self, name: str, value: str) -> None:
        """Let ``name`` have this value from here on."""
        self.known[name] = value
        self.elsewhere.discard(name)

    def set_elsewhere(self, name: str) -> None:
        """Let ``name`` have a value that only the workers know from here on."""
        self.known.pop(name, None)
        self.elsewhere.add(name)


def read(
    fields: Mapping[str, TypedValue], namespace: str, maps: ConfigMaps, report: ImportReport
) -> ContainerEnv:
    """Return a container's variables, from its ``envFrom`` and ``env``.

    Raises:
        WrongTypeError: A field is missing or of a wrong type.
    """
    reader = _Reader(ContainerEnv(), namespace, maps, report)
    for source in fields["envFrom"].items() if "envFrom" in fields else []:
        reader.read_source(source)
    for entry in fields["env"].items() if "env" in fields else []:
        reader.read_entry(entry)
    return reader.found


@dataclass(frozen=True, slots=True)
class _Reader:
    """The state of a container's variables from entry to entry."""

    found: ContainerEnv
    namespace: str
    maps: ConfigMaps
    report: ImportReport

    def read_source(self, source: TypedValue) -> None:
        """Take in one item of ``envFrom``."""
        parts = source.fields()
        prefix = parts["prefix"].text() if "prefix" in parts else ""
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if key not in parts:
                continue
            name = parts[key].field("name").text()
            data = self.maps.get((self.namespace, name)) if kind == "ConfigMap" else None
            if data is not None:
                for variable, value in data.items():
                    if variable and "=" not in variable:
                        self.found.set_known(f"{prefix}{variable}", value)
                self.report.add("KC611", source, f"the values of ConfigMap {name} are copied")
                continue
            self.found.has_unknown_names = True
            self.report.add("KC610", source, f"the variables of {kind} {name} are not set")
            self.report.add_need("variable", f"{prefix}*", source, f"{kind} {name}, every key")

    def read_entry(self, entry: TypedValue) -> None:
        """Take in one item of ``env``."""
        parts = entry.fields()
        name = entry.field("name").text()
        if not name or "=" in name:
            raise WrongTypeError(entry, f"{shown(name)} is not a variable's name")
        if "valueFrom" in parts:
            self._read_reference(name, parts["valueFrom"])
        elif "value" in parts:
            self._read_value(name, parts["value"])
        else:
            self.found.set_known(name, "")

    def _read_value(self, name: str, value: TypedValue) -> None:
        text = value.text()
        parts = self.found.expand(text)
        missing = variable_expansion.names(parts)
        if not missing:
            self.found.set_known(name, variable_expansion.literal(parts))
            return
        self.found.set_elsewhere(name)
        self.report.add("KC610", value, f"variable {name} is not set: it is made of {', '.join(missing)}")
        self.report.add_need("variable", name, value, f"made as {shown(text)}")

    def _read_reference(self, name: str, source: TypedValue) -> None:
        parts = source.fields()
        if "configMapKeyRef" in parts:
            reference = parts["configMapKeyRef"]
            holder, key = reference.field("name").text(), reference.field("key").text()
            value = self.maps.get((self.namespace, holder), {}).get(key)
            if value is not None:
                self.found.set_known(name, value)
                self.report.add("KC611", source, f"variable {name} is copied from ConfigMap {holder}")
                return
            words = f"ConfigMap {holder}, key {key}"
        elif "secretKeyRef" in parts:
            reference = parts["secretKeyRef"]
            words = f"Secret {reference.field('name').text()}, key {reference.field('key').text()}"
        elif "fieldRef" in parts:
            path = parts["fieldRef"].field("fieldPath").text()
            words = f"the pod's {path}"
            if path == "metadata.name":
                words += "; KUBER_CRON_RUN_ID names the run"
        else:
            words = ", ".join(parts) or "nothing"
        self.found.set_elsewhere(name)
        self.report.add("KC610", source, f"variable {name} is not set: it comes from {words}")
        self.report.add_need("variable", name, source, words)
