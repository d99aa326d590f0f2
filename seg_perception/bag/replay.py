"""A bag through the pipeline into a new bag: the topics, types and pixels of a live node."""

from __future__ import annotations

import enum
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from seg_perception.bag.copying import InputCopy, NewTopics
from seg_perception.bag.kit import RosbagsKit
from seg_perception.bag.mcap_writer import McapWriter
from seg_perception.bag.qos import LATCHED_QOS, TF_QOS, frame_qos
from seg_perception.bag.reader import Bag
from seg_perception.bag.records import RawMessage
from seg_perception.bag.topics import CameraTopics, FrameReader
from seg_perception.bag.transforms import BagTransforms
from seg_perception.errors import BackendError, BagError, ConfigError, FrameError, GeometryError, SegPerceptionError
from seg_perception.messages import LABEL_INFO, TF_MESSAGE, label_info_message, tf_message
from seg_perception.outputs import LABEL_INFO_TOPIC, OUTPUTS, TF_STATIC_TOPIC, FrameAnnouncer, wanted_for
from seg_perception.pipeline import Pipeline
from seg_perception.types import Perception

__all__ = ["DEFAULT_OUTPUTS", "Keep", "Replay", "ReplayOptions", "ReplayResult"]

_LOG = logging.getLogger("seg_perception.bag")

_LAST_STAMP_NS = (2**31 - 1) * 1_000_000_000


class Keep(enum.Enum):
    """What of the input goes into the new bag."""

    EVERYTHING = enum.auto()
    ALL_BUT_THE_IMAGES = enum.auto()
    NOTHING = enum.auto()


DEFAULT_OUTPUTS = (*(output.name for output in OUTPUTS), LABEL_INFO_TOPIC)


@dataclass(frozen=True)
class ReplayOptions:
    """What to write.

    Attributes:
        prefix: of the topics, the node's name: `/segmentation`.
        outputs: names of `OUTPUTS`, and `label_info`.
        keep: what of the input goes into the new bag.
        limit: stop after so many images; None is all.
    """

    prefix: str = "/segmentation"
    outputs: Collection[str] = DEFAULT_OUTPUTS
    keep: Keep = Keep.EVERYTHING
    limit: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"/{self.prefix.strip('/')}".rstrip("/"))
        wanted_for(self.outputs)
        if not self.outputs:
            raise ConfigError(f"outputs: expected one or more of {', '.join(DEFAULT_OUTPUTS)}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit: expected 1 or more, got {self.limit}")


@dataclass
class ReplayResult:
    """What became of it.

    Attributes:
        read: images seen.
        published: images whose results were written.
        failed: images without results, by reason.
        unlocated: images whose results lack what is in metres, by reason.
        first_error: the first message of each reason.
        copied: messages of the input that were kept.
        stages_ms: times of every published image, by stage, milliseconds.
        elapsed_s: of the whole run.
    """

    read: int = 0
    published: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unlocated: Counter[str] = field(default_factory=Counter)
    first_error: dict[str, str] = field(default_factory=dict)
    copied: int = 0
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    elapsed_s: float = 0.0

    def add_times(self, stage_ms: dict[str, float]) -> None:
        """One more image."""
        for stage, value in stage_ms.items():
            self.stages_ms.setdefault(stage, []).append(value)


class Replay:
    """One run over a bag.

    Args:
        bag: open.
        topics: its camera.
        pipeline: as for a live node.
        options: what to write.

    Raises:
        BagError: the bag holds a topic of the name of a result.
    """

    def __init__(self, bag: Bag, topics: CameraTopics, pipeline: Pipeline, options: ReplayOptions) -> None:
        self._bag, self._topics, self._pipeline, self._options = bag, topics, pipeline, options
        self._kit = RosbagsKit()
        self._outputs = [output for output in OUTPUTS if output.name in options.outputs]
        self._wanted = wanted_for(options.outputs)
        self._check_names()

    def run(self, writer: McapWriter, on_image: Callable[[int], None] = lambda done: None) -> ReplayResult:
        """Write everything; the caller closes the writer.

        Args:
            on_image: called after every image with how many there were.
        """
        start_s = before_s = time.perf_counter()
        self._result = result = ReplayResult()
        self._results, self._announcer = NewTopics(writer, self._kit), FrameAnnouncer()
        reader = FrameReader(self._bag, self._topics, self._kit)
        copy = self._input_copy(writer)
        transforms = self._pipeline.transforms
        transforms.close()  # nothing comes by waiting: what a live node would hear in time is fed ahead
        heard = BagTransforms(self._bag, self._kit, transforms, self._pipeline.config.tf_wait_ms / 1e3)
        for count, message in enumerate(self._bag.messages(None if copy else reader.topics)):
            if reader.is_image(message) and result.read == self._options.limit:
                break
            if count == 0:
                self._publish_label_info(message.log_ns)
            if copy:
                copy.copy(message)
            if reader.is_camera_info(message):
                reader.see_camera_info(message)
            elif reader.is_image(message):
                heard.advance(message.log_ns)
                self._process(message, reader, (time.perf_counter() - before_s) * 1e3)
                on_image(result.read)
                before_s = time.perf_counter()
        result.copied = copy.messages if copy else 0
        result.elapsed_s = time.perf_counter() - start_s
        return result

    def _check_names(self) -> None:
        if self._options.keep is Keep.NOTHING:
            return
        ours = {self._topic(name) for name in self._options.outputs}
        clash = sorted(ours & {c.topic for c in self._bag.connections})
        if clash:
            raise BagError(
                f"{self._bag.path} holds {clash[0]} already, from an earlier run; choose another --prefix, or write "
                "the results alone with --only-outputs"
            )

    def _topic(self, name: str) -> str:
        return f"{self._options.prefix}/{name}"

    def _input_copy(self, writer: McapWriter) -> InputCopy | None:
        if self._options.keep is Keep.NOTHING:
            return None
        left_out = self._topics.image.topic if self._options.keep is Keep.ALL_BUT_THE_IMAGES else None
        copy = InputCopy(writer, self._kit, left_out)
        copy.announce(self._bag)
        return copy

    def _process(self, message: RawMessage, reader: FrameReader, read_ms: float) -> None:
        """One image; whatever is wrong with it, the next one will be processed."""
        self._result.read += 1
        try:
            seen = self._pipeline.process(reader.frame(message), self._wanted)
            if seen.ground_problem is not None:
                self._without_metres(*seen.ground_problem)
            write_ms = self._publish(seen, message.log_ns)
        except FrameError as exc:
            self._fail(exc.reason, exc)
        except BackendError as exc:
            self._fail("backend", exc)
        except SegPerceptionError:
            raise  # not of this image: the new bag cannot be written
        except Exception as exc:
            if "internal" not in self._result.failed:
                _LOG.exception("an error that nobody foresaw; please report it")
            self._fail("internal", exc)
        else:
            stages = {"read": read_ms, **seen.stage_ms}
            total_ms = stages.pop("total") + read_ms + write_ms
            self._result.add_times({**stages, "write": write_ms, "total": total_ms})
            self._result.published += 1

    def _fail(self, reason: str, error: Exception) -> None:
        self._result.failed[reason] += 1
        self._result.first_error.setdefault(reason, str(error))

    def _without_metres(self, reason: str, text: str) -> None:
        self._result.unlocated[reason] += 1
        self._result.first_error.setdefault(reason, text)

    def _publish(self, seen: Perception, log_ns: int) -> float:
        """Write every output; milliseconds.

        Raises:
            FrameError: a result could not be encoded; the others were written.
            BagError: the new bag cannot be written.
        """
        start_s = time.perf_counter()
        refused: FrameError | None = None
        qos = frame_qos(self._pipeline.config)
        for output in self._outputs:
            try:
                message = output.build(self._kit, seen, self._pipeline.config)
                if message is not None:
                    topic, transforms = self._announcer.due(output, seen)
                    if transforms:
                        tf_qos = LATCHED_QOS if topic == TF_STATIC_TOPIC else TF_QOS
                        self._results.send(topic, TF_MESSAGE, tf_message(self._kit, transforms), log_ns, tf_qos)
                    self._results.send(self._topic(output.name), output.type_name, message, log_ns, qos)
            except FrameError as exc:
                refused = exc
            except GeometryError as exc:
                self._without_metres(exc.reason, str(exc))
        if refused is not None:
            raise refused
        return (time.perf_counter() - start_s) * 1e3

    def _publish_label_info(self, log_ns: int) -> None:
        """Once, before everything else, latched as the node does it."""
        if LABEL_INFO_TOPIC in self._options.outputs:
            message = label_info_message(self._kit, min(log_ns, _LAST_STAMP_NS), "", self._pipeline.labels)
            self._results.send(self._topic(LABEL_INFO_TOPIC), LABEL_INFO, message, log_ns, LATCHED_QOS)
