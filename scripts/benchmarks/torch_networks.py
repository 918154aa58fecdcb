"""The peers of `scripts/bench models`: networks with the same layers as ours, written plainly in PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmmjax.models.i3d import MIXED, POOLS
from vmmjax.models.layers import same_padding


def _pad_same(x: Tensor, window: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pads the last three axes as TensorFlow's SAME does."""
    edges = [same_padding(size, taps, step) for size, taps, step in zip(x.shape[2:], window, stride, strict=True)]
    flat = [side for edge in reversed(edges) for side in edge]
    return F.pad(x, flat, value=value) if any(flat) else x


class Unit3D(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, features: int, window: tuple[int, ...] = (1, 1, 1),
                 stride: tuple[int, ...] = (1, 1, 1)) -> None:
        super().__init__()
        self.window, self.stride = window, stride
        self.conv = nn.Conv3d(inputs, features, window, stride, bias=False)
        self.bn = nn.BatchNorm3d(features, eps=1e-3, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(_pad_same(x, self.window, self.stride))), inplace=True)


class MaxPool3D(nn.Module):
    """SAME max pooling."""

    def __init__(self, window: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        self.window, self.stride = window, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_pad_same(x, self.window, self.stride), self.window, self.stride)


class Mixed(nn.Module):
    """An Inception block."""

    def __init__(self, inputs: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = sizes
        three = (3, 3, 3)
        self.branches = nn.ModuleList([
            Unit3D(inputs, b0),
            nn.Sequential(Unit3D(inputs, b1a), Unit3D(b1a, b1b, three)),
            nn.Sequential(Unit3D(inputs, b2a), Unit3D(b2a, b2b, three)),
            nn.Sequential(MaxPool3D(three, (1, 1, 1)), Unit3D(inputs, b3))])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class I3D(nn.Module):
    """Clips (B, C, T, H, W) to logits (B, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        units = {'Conv3d_1a_7x7': Unit3D(3, 64, (7, 7, 7), (2, 2, 2)), 'Conv3d_2b_1x1': Unit3D(64, 64),
                 'Conv3d_2c_3x3': Unit3D(64, 192, (3, 3, 3))}
        channels = 192
        for name, sizes in MIXED.items():
            units[name] = Mixed(channels, sizes)
            channels = sizes[0] + sizes[2] + sizes[4] + sizes[5]
        for name, unit in units.items():
            layers.append(unit)
            if name in POOLS:
                layers.append(MaxPool3D(*POOLS[name][1:]))
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Conv3d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool3d(self.layers(x), (2, 7, 7), 1)
        return self.logits(self.dropout(x)).mean((2, 3, 4))


class Bottleneck(nn.Module):
    """A residual block of ResNet-50 with the temporal shift before its first convolution."""

    def __init__(self, inputs: int, width: int, stride: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False),
                                            nn.BatchNorm2d(4 * width))

    def shift(self, x: Tensor) -> Tensor:
        clips = x.view(-1, self.segments, *x.shape[1:])
        fold = clips.shape[2] // 8
        out = torch.zeros_like(clips)
        out[:, :-1, :fold] = clips[:, 1:, :fold]
        out[:, 1:, fold:2 * fold] = clips[:, :-1, fold:2 * fold]
        out[:, :, 2 * fold:] = clips[:, :, 2 * fold:]
        return out.view(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(self.shift(x))), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class TSM(nn.Module):
    """TSM on ResNet-50: frames (B * T, 3, H, W) to logits (B, classes)."""

    def __init__(self, classes: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
                                  nn.MaxPool2d(3, 2, 1))
        blocks, inputs = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(Bottleneck(inputs, width, stride if i == 0 else 1, segments))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(self.dropout(self.blocks(self.stem(x)).mean((2, 3))))
        return x.view(-1, self.segments, x.shape[-1]).mean(1)


class Cnn14(nn.Module):
    """PANNs Cnn14: log-mels (B, F, 64) to logits (B, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(64)
        layers: list[nn.Module] = []
        inputs = 1
        for width in (64, 128, 256, 512, 1024, 2048):
            for size in (inputs, width):
                layers += [nn.Conv2d(size, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers += [nn.AvgPool2d(2) if width < 2048 else nn.Identity(), nn.Dropout(0.2)]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.fc1 = nn.Linear(2048, 2048)
        self.fc = nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(x[:, None].transpose(1, 3)).transpose(1, 3)
        x = self.layers(x).mean(3)
        x = F.dropout(x.amax(2) + x.mean(2), 0.5, self.training)
        return self.fc(F.dropout(F.relu(self.fc1(x)), 0.5, self.training))
