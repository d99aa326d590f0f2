import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training room needs torch")

from seg_perception.datasets import CAMVID_OF_CITYSCAPES
from seg_perception.labels import CITYSCAPES
from seg_perception.training.losses import PartialLabelLoss, distillation_loss, refine, soft_jaccard_loss, soft_views

GROUP_OF_CLASS = [int(CAMVID_OF_CITYSCAPES[label.id]) for label in CITYSCAPES]
GROUPS = [[c for c, g in enumerate(GROUP_OF_CLASS) if g == label] for label in range(11)]


class TestPartialLabels:
    def test_against_a_loop_over_pixels(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 19, 3, 4, generator=generator, dtype=torch.float64)
        counts = torch.randint(0, 17, (2, 11, 3, 4), generator=generator)
        weights = torch.linspace(0.5, 2, 11)
        total = weight_sum = 0.0
        p = torch.softmax(logits, 1)
        for n in range(2):
            for y in range(3):
                for x in range(4):
                    for label in range(11):
                        share = sum(float(p[n, c, y, x]) for c in range(19) if GROUP_OF_CLASS[c] == label)
                        weight = float(weights[label]) * float(counts[n, label, y, x])
                        total -= weight * np.log(share)
                        weight_sum += weight
        loss = PartialLabelLoss(GROUPS, weights)(torch.log_softmax(logits, 1), counts.float())
        assert float(loss) == pytest.approx(total / weight_sum, rel=1e-5)

    def test_a_label_says_nothing_about_which_of_its_classes(self) -> None:
        loss = PartialLabelLoss(GROUPS, torch.ones(11))
        counts = torch.zeros(1, 11, 1, 1)
        counts[0, 8] = 16  # "car" in CamVid
        values = []
        for name in ("car", "truck", "bus", "train"):
            logits = torch.zeros(1, 19, 1, 1)
            logits[0, CITYSCAPES.id_of(name)] = 9.0
            values.append(float(loss(torch.log_softmax(logits, 1), counts)))
        assert max(values) == pytest.approx(min(values), rel=1e-3) and values[0] < 0.01

    def test_void_everywhere_is_no_loss(self) -> None:
        log_p = torch.log_softmax(torch.randn(1, 19, 2, 2), 1)
        assert float(PartialLabelLoss(GROUPS, torch.ones(11))(log_p, torch.zeros(1, 11, 2, 2))) == 0.0

    def test_a_label_without_classes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="every label must cover"):
            PartialLabelLoss([[0, 1], []], torch.ones(2))


class TestJaccard:
    def test_against_a_loop(self) -> None:
        generator = torch.Generator().manual_seed(4)
        p = torch.softmax(torch.randn(2, 19, 2, 3, generator=generator), 1)
        counts = torch.randint(0, 3, (2, 11, 2, 3), generator=generator).float()
        counts[:, 4] = 0  # a label that is not there does not count
        size = float(counts.sum(1).max())
        values = []
        for label in range(11):
            both = said = there = 0.0
            for n in range(2):
                for y in range(2):
                    for x in range(3):
                        share = sum(float(p[n, c, y, x]) for c in GROUPS[label])
                        labelled, truth = float(counts[n, :, y, x].sum()) / size, float(counts[n, label, y, x]) / size
                        both += share * labelled * truth
                        said += share * labelled
                        there += truth
            if there:
                values.append(both / (said + there - both))
        assert len(values) == 10
        assert float(soft_jaccard_loss(p.log(), counts, GROUPS)) == pytest.approx(1 - np.mean(values), rel=1e-4)

    def test_right_is_nothing_and_wrong_is_one(self) -> None:
        counts = torch.zeros(1, 11, 2, 2)
        counts[0, 0, 0], counts[0, 3, 1] = 4, 4
        sky, road = CITYSCAPES.id_of("sky"), CITYSCAPES.id_of("road")
        logits = torch.full((1, 19, 2, 2), -20.0)
        logits[0, sky, 0], logits[0, road, 1] = 20, 20
        assert float(soft_jaccard_loss(torch.log_softmax(logits, 1), counts, GROUPS)) == pytest.approx(0, abs=1e-4)
        assert float(soft_jaccard_loss(torch.log_softmax(logits.flip(2), 1), counts, GROUPS)) == pytest.approx(
            1, abs=1e-4
        )
        assert float(soft_jaccard_loss(torch.log_softmax(logits, 1), counts * 0, GROUPS)) == 0


class TestTeacher:
    def test_its_answer_is_warped_as_the_view_was(self) -> None:
        """OpenCV warps the picture, we warp the answer: on a smooth field they must agree."""
        rng = np.random.default_rng(3)
        field = cv2.resize(rng.random((4, 6, 2)).astype(np.float32), (128, 96), interpolation=cv2.INTER_CUBIC)
        frame = cv2.resize(field, (480, 360), interpolation=cv2.INTER_LINEAR)
        from seg_perception.training.data import _frame_of_view

        for matrix in ([[1.5, 0, -100], [0, 1.1, -20]], [[-0.9, 0, 470], [0, 0.8, 3]]):
            matrix = np.array(matrix, float)
            view = cv2.warpAffine(frame, matrix, (512, 256), borderValue=(-1, -1))
            expected = cv2.resize(view, (128, 64), interpolation=cv2.INTER_AREA)
            grid = torch.from_numpy(_frame_of_view(matrix, (360, 480), (256, 512)))[None]
            soft = torch.from_numpy(field.transpose(2, 0, 1))[None].half()
            nowhere = torch.zeros(1, 96, 128, dtype=torch.bool)
            answer, seen = soft_views(soft, torch.tensor([0]), torch.tensor([-1]), nowhere, grid, nowhere, (64, 128))
            inside = cv2.erode((expected.min(2) >= 0).astype(np.uint8), np.ones((3, 3))) == 1
            assert seen[0, 0].numpy()[inside].all() and inside.mean() > 0.5
            assert not seen[0, 0].numpy()[(expected == -1).all(2)].any()
            np.testing.assert_allclose(answer[0].numpy().transpose(1, 2, 0)[inside], expected[inside], atol=0.02)

    def test_what_was_pasted_has_the_other_frames_answer(self) -> None:
        soft = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.9)]).half()
        masks = torch.zeros(2, 8, 8, dtype=torch.bool)
        masks[:, :, 4:] = True
        identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).repeat(2, 1, 1)
        answer, _ = soft_views(
            soft, torch.tensor([0, 0]), torch.tensor([1, -1]), masks, identity, masks & False, (8, 8)
        )
        assert answer[0, 0, 0, 1] == pytest.approx(0.1, abs=1e-3) and answer[0, 0, 0, 6] == pytest.approx(0.9, abs=1e-3)
        assert (answer[1] < 0.2).all()  # nothing was pasted there

    def test_what_it_has_not_seen_it_does_not_teach(self) -> None:
        """A thing over the left half of the frame, in a view of its mirror image: on the right."""
        untaught = torch.zeros(1, 8, 8, dtype=torch.bool)
        untaught[:, :, :4] = True
        mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]])[None]
        none = torch.zeros(1, 8, 8, dtype=torch.bool)
        parts = torch.full((1, 3, 8, 8), 0.3), torch.tensor([0]), torch.tensor([-1]), none, mirror
        _, seen = soft_views(*parts, untaught, (8, 8))
        assert seen[0, 0, :, :4].all() and not seen[0, 0, :, 4:].any()
        assert soft_views(*parts, none, (8, 8))[1].all()

    def test_refined_by_labels_against_a_loop(self) -> None:
        generator = torch.Generator().manual_seed(1)
        teacher = torch.softmax(torch.randn(1, 19, 2, 3, generator=generator), 1)
        counts = torch.randint(0, 5, (1, 11, 2, 3), generator=generator).float()
        counts[0, :, 0, 0] = 0
        refined = refine(teacher, counts, GROUPS)
        for y in range(2):
            for x in range(3):
                t, n = teacher[0, :, y, x].tolist(), counts[0, :, y, x].tolist()
                if sum(n) == 0:
                    expected = t
                else:
                    expected = []
                    for c in range(19):
                        members = GROUPS[GROUP_OF_CLASS[c]]
                        expected.append(n[GROUP_OF_CLASS[c]] / sum(n) * t[c] / sum(t[d] for d in members))
                assert refined[0, :, y, x].tolist() == pytest.approx(expected, abs=0.01)
                assert float(refined[0, :, y, x].sum()) == pytest.approx(1, abs=1e-4)

    def test_divergence_against_torchs_own(self) -> None:
        generator = torch.Generator().manual_seed(2)
        log_p = torch.log_softmax(torch.randn(2, 5, 3, 4, generator=generator), 1)
        teacher = torch.softmax(torch.randn(2, 5, 3, 4, generator=generator) * 9, 1)
        teacher[0, :, 0, 0] = torch.tensor([1.0, 0, 0, 0, 0])
        seen = torch.ones(2, 1, 3, 4, dtype=torch.bool)
        expected = torch.nn.functional.kl_div(log_p, teacher, reduction="none").sum(1).mean()
        assert float(distillation_loss(log_p, teacher, seen)) == pytest.approx(float(expected), rel=1e-5)
        seen[1] = False
        expected = torch.nn.functional.kl_div(log_p[:1], teacher[:1], reduction="none").sum(1).mean()
        assert float(distillation_loss(log_p, teacher, seen)) == pytest.approx(float(expected), rel=1e-5)
        assert float(distillation_loss(torch.log(teacher + 1e-12), teacher, seen)) == pytest.approx(0, abs=1e-5)


class TestOpeningATeacher:
    def test_a_run_and_its_model_file_say_the_same(self, tmp_path) -> None:
        """The same network twice: as a checkpoint through torch or ONNX Runtime, and as a sealed model file."""
        pytest.importorskip("onnx", reason="exporting needs onnx")
        from seg_perception.training.checkpoint import save_checkpoint
        from seg_perception.training.config import TeacherConfig, train_config
        from seg_perception.training.export import export_run
        from seg_perception.training.models import build
        from seg_perception.training.teacher import SOFT_HW, open_teacher, soft_labels

        torch.manual_seed(0)
        network = build("pyramid", 19, width=0.34)
        with torch.no_grad():
            network.classify.weight.mul_(5)
        config = {"network": {"width": 0.34, "height_px": 128, "width_px": 256},
                  "data": [{"dataset": "none"}], "distill": {"teachers": [{"model": "any"}]}}  # fmt: skip
        from dataclasses import asdict

        (tmp_path / "run").mkdir()
        state = {"config": asdict(train_config(config)), "step": 3, "averaged": network.state_dict()}
        save_checkpoint(tmp_path / "run" / "last.pt", state)
        export_run(tmp_path / "run", tmp_path / "m.onnx", "m", "1", 4)
        image = np.random.default_rng(0).integers(0, 256, (128, 256, 3)).astype(np.uint8)
        cpu, answers = torch.device("cpu"), []
        for model in ("run", "m.onnx"):
            teacher = open_teacher(TeacherConfig(str(tmp_path / model)), cpu)
            answers.append(soft_labels([teacher], [image], tmp_path / "cache", cpu)[0])
        with torch.no_grad():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            p = (torch.softmax(network.eval()(x), 1) + torch.softmax(network(x.flip(3)), 1).flip(3)) / 2
            expected = torch.nn.functional.interpolate(p, size=SOFT_HW, mode="area")[0].numpy()
        for answer in answers:
            np.testing.assert_allclose(answer, expected, atol=2e-3)
        assert expected.std() > 0.01

    def test_answers_are_kept_by_teacher_and_pixels(self, tmp_path) -> None:
        from seg_perception.training.teacher import Teacher, soft_labels

        class Counting(torch.nn.Module):
            asked = 0

            def forward(self, x):
                self.asked += 1
                return torch.zeros(len(x), 19, 8, 8)

        network, cpu = Counting(), torch.device("cpu")
        images = [np.full((16, 16, 3), v, np.uint8) for v in (1, 2)]
        soft_labels([Teacher("a", network, ((16, 16),))], images, tmp_path, cpu)
        assert network.asked == 2
        soft_labels([Teacher("a", network, ((16, 16),))], images[::-1], tmp_path, cpu)
        assert network.asked == 2
        cut = sorted(tmp_path.glob("*.npy"))[0]
        cut.write_bytes(cut.read_bytes()[:100])
        soft_labels([Teacher("a", network, ((16, 16),))], images, tmp_path, cpu)
        assert network.asked == 3
        soft_labels([Teacher("b", network, ((16, 16),))], images, tmp_path, cpu)
        assert network.asked == 5
