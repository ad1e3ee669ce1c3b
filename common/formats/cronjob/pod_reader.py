"""Pods: from a pod's spec to the one command that a run is.

Pure. What stands beside the command in Kubernetes (its image, its volumes, its account) is the workers' here, so it
is collected as what they need.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kuber_cron.common.formats.cronjob import container_env, unsupported_fields, variable_expansion
from kuber_cron.common.formats.cronjob.container_env import ConfigMaps, ContainerEnv
from kuber_cron.common.formats.cronjob.import_report import ImportReport
from kuber_cron.common.formats.cronjob.typed_values import TypedValue

# A string runs under them with -c, as a pod's [shell, -c, script] does.
_SHELLS = {"sh": "/bin/sh", "/bin/sh": "/bin/sh", "/bin/bash": "/bin/bash", "/bin/dash": "/bin/dash"}
_SHELL_NAMES = ("sh", "bash", "dash", "ash", "ksh", "zsh")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerChoice:
    """The operator's choice of containers and entry points.

    Attributes:
        containers: Names of those to take where a pod has several.
        entrypoints: The words that an image runs, by image, or by image without its tag.
    """

    containers: frozenset[str] = frozenset()
    entrypoints: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def entrypoint(self, image: str) -> Sequence[str] | None:
        """Return the words that ``image`` runs, None where the operator names none."""
        return self.entrypoints.get(image) or self.entrypoints.get(repository(image))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCommand:
    """The one command of a container.

    Attributes:
        image: Its image; empty where it has none.
        words: A string for ``shell``, or a list.
        shell: What runs a string.
        env: Its variables.
        cwd: Its directory, or None.
    """

    image: str
    words: str | list[str]
    shell: str
    env: dict[str, str]
    cwd: str | None


def repository(image: str) -> str:
    """Return an image without its tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def read(
    pod: TypedValue, namespace: str, choice: ContainerChoice, maps: ConfigMaps, report: ImportReport
) -> ContainerCommand | None:
    """Return the command of a pod's spec; None where the report says why there is none.

    Raises:
        WrongTypeError: A field is missing or of a wrong type.
    """
    fields = pod.fields()
    unsupported_fields.report_all(fields, unsupported_fields.POD, unsupported_fields.KNOWN_POD, report)
    if "serviceAccountName" in fields and fields["serviceAccountName"].text() not in {"", "default"}:
        account = fields["serviceAccountName"]
        report.add_need("account", account.text(), account)
    container = _chosen(pod, choice, report)
    if container is None:
        return None
    parts = container.fields()
    unsupported_fields.report_all(
        parts, unsupported_fields.CONTAINER, unsupported_fields.KNOWN_CONTAINER, report
    )
    image = parts["image"].text() if "image" in parts else ""
    if image:
        report.add("KC601", parts["image"], f"image {image}: its workers must have what the image has")
        report.add_need("image", image, parts["image"])
    variables = container_env.read(parts, namespace, maps, report)
    _report_volumes(fields, parts, report)
    words = _words(parts, container, image, choice, report)
    if words is None:
        return None
    command, shell = _command(
        words, variables, parts.get("command") or parts.get("args") or container, report
    )
    cwd = parts["workingDir"].text() if "workingDir" in parts else None
    home = variables.known.get("HOME")
    return ContainerCommand(
        image=image,
        words=command,
        shell=shell,
        env=variables.known,
        # A job starts in its HOME anyway.
        cwd=cwd if cwd and cwd != home else None,
    )


def _chosen(pod: TypedValue, choice: ContainerChoice, report: ImportReport) -> TypedValue | None:
    containers = pod.field("containers").items()
    fields = pod.fields()
    before = fields["initContainers"].items() if "initContainers" in fields else []
    named = {each.field("name").text(): each for each in containers}
    chosen = [each for name, each in named.items() if name in choice.containers]
    if len(chosen) == 1:
        for each in [*before, *containers]:
            if each is not chosen[0]:
                report.add("KC619", each, f"container {each.field('name').text()} is left out")
        return chosen[0]
    if len(containers) == 1 and not before:
        return containers[0]
    if not containers:
        report.add("KC502", pod, "the pod has no containers")
        return None
    names = ", ".join(each.field("name").text() for each in [*before, *containers])
    hint = f"--container {next(iter(named))}, if its command does without the others"
    message = f"the pod has several containers ({names}), and a run is one command"
    report.add("KC506", before[0] if len(containers) == 1 else containers[1], message, hint)
    return None


def _words(
    parts: Mapping[str, TypedValue],
    container: TypedValue,
    image: str,
    choice: ContainerChoice,
    report: ImportReport,
) -> list[str] | None:
    """Return the program and its arguments as written; what they refer to is not filled in."""
    arguments = [each.text() for each in parts["args"].items()] if "args" in parts else []
    program = [each.text() for each in parts["command"].items()] if "command" in parts else []
    if program:
        return [*program, *arguments]
    words = choice.entrypoint(image)
    if words is not None:
        # A dollar sign in the operator's words is one.
        return [*(word.replace("$", "$$") for word in words), *arguments]
    message = "it has arguments and no command" if arguments else "it has no command"
    report.add(
        "KC505",
        parts.get("args") or parts.get("image") or container,
        f"{message}: the image's entry point runs, and is not known here",
        f"--entrypoint '{image or 'IMAGE'}=PROGRAM ARGUMENT…'; docker image inspect shows Entrypoint and Cmd",
    )
    return None


def _command(
    words: Sequence[str], variables: ContainerEnv, place: TypedValue, report: ImportReport
) -> tuple[str | list[str], str]:
    """Return what runs, and the shell that runs it if it is a string."""
    parts = [variables.expand(word) for word in words]
    missing = list(dict.fromkeys(name for part in parts for name in variable_expansion.names(part)))
    if missing:
        report.add("KC612", place, f"$({missing[0]}) becomes the shell's ${{{missing[0]}}}")
        for name in missing:
            if name not in variables.elsewhere:  # of a source whose keys are not known
                report.add_need("variable", name, place, "named in the command")
    shell = _SHELLS.get(words[0]) or (words[0] if _is_shell(words[0]) else None)
    if shell is not None and len(words) == 3 and words[1] == "-c":
        return variable_expansion.script(parts[2]), shell
    if missing:
        return variable_expansion.command_line(parts), "/bin/sh"
    return [variable_expansion.literal(part) for part in parts], "/bin/sh"


def _is_shell(program: str) -> bool:
    return program.startswith("/") and program.rpartition("/")[2] in _SHELL_NAMES


def _report_volumes(
    fields: Mapping[str, TypedValue], parts: Mapping[str, TypedValue], report: ImportReport
) -> None:
    volumes = {
        each.field("name").text(): each for each in (fields["volumes"].items() if "volumes" in fields else [])
    }
    for mount in parts["volumeMounts"].items() if "volumeMounts" in parts else []:
        path, name = mount.field("mountPath").text(), mount.field("name").text()
        what = _volume(volumes.get(name))
        report.add("KC614", mount, f"{what} at {path}: its workers must have it")
        report.add_need("volume", path, mount, what)


def _volume(volume: TypedValue | None) -> str:
    """Return a volume's kind and name, in a few words."""
    fields = volume.fields() if volume is not None else {}
    known = {
        "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
        "secret": ("Secret", "secretName"),
        "configMap": ("ConfigMap", "name"),
        "hostPath": ("the node's", "path"),
        "nfs": ("NFS", "path"),
        "csi": ("CSI", "driver"),
    }
    for kind, (words, key) in known.items():
        if kind in fields:
            part = fields[kind].fields().get(key)
            return f"{words} {part.text()}" if part is not None else words
    if "emptyDir" in fields:
        return "an empty directory"
    kinds = [name for name in fields if name != "name"]
    return f"a volume ({kinds[0]})" if kinds else "a volume"
