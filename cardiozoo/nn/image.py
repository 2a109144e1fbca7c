"""Image encoders: any network of timm without its classifier, and a pair of ResNets on one stem."""

from __future__ import annotations

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from cardiozoo.errors import CheckpointError, OptionError

PUBLISHED_WIDTH = 64


def create_backbone(name: str, width: int = PUBLISHED_WIDTH, pretrained: bool = False) -> nn.Module:
    """A timm network without its classifier: (N, 3, H, W) -> pooled features.

    Args:
        name: Name in timm: ``resnet34``, ``resnet50``, ``convnext_tiny``, ...
        width: Channels of the first stage of a ResNet, doubled at each of the three further stages. 64 is the published
            network; a smaller one is for small images and quick runs.
        pretrained: Load the ImageNet weights that timm offers under this name.

    Raises:
        OptionError: timm has no such network, or the network cannot be narrowed.
        CheckpointError: The pretrained weights could not be had.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5] or timm.list_models("resnet*")[:8]
        raise OptionError(
            f"There is no image network {name!r} in timm.",
            f"For example: {', '.join(near)}.",
            "timm.list_models() lists all of them.",
        )
    if width < 1:
        raise OptionError(
            f"An image width of {width}.",
            "At least 1; 64 is the published width.",
            "Leave --model.image_width out for that.",
        )
    options = {} if width == PUBLISHED_WIDTH else {"channels": tuple(width * 2**stage for stage in range(4))}
    if options and pretrained:
        raise OptionError(
            f"pretrained with image_width {width}.",
            f"Pretrained weights exist for the published width, {PUBLISHED_WIDTH}.",
            "Leave out one of the two.",
        )
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        if not options:
            raise
        raise OptionError(
            f"image_width {width} with {name!r}.",
            "Only the ResNets of timm take another width.",
            "Choose a ResNet, or a smaller network by name.",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"The pretrained weights of {name!r} could not be loaded: {error}",
            "timm fetches them once, over the network, into its cache.",
            "Run once on a machine with network access, or train without --model.pretrained.",
        ) from error


class ImageEncoder(nn.Module):
    """A timm backbone, optionally with a linear projection of its pooled features.

    Args:
        backbone: Name in timm.
        width: Channels of the first stage, see ``create_backbone``.
        pretrained: Start from ImageNet weights.
        project_to: Width of a linear projection; no projection if None.
    """

    def __init__(
        self,
        backbone: str = "resnet34",
        width: int = PUBLISHED_WIDTH,
        pretrained: bool = False,
        project_to: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = create_backbone(backbone, width, pretrained)
        # What comes out without a classifier; in some networks a further layer follows the pooled ``num_features``.
        pooled: int = getattr(self.backbone, "head_hidden_size", self.backbone.num_features)
        self.projection = nn.Identity() if project_to is None else nn.Linear(pooled, project_to)
        self.width = pooled if project_to is None else project_to

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, width)."""
        return self.projection(self.backbone(images))


class ResNetStem(nn.Module):
    """First convolution, BatchNorm, ReLU and max-pooling of a ResNet."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1, self.maxpool = resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool

    def forward(self, images: Tensor) -> Tensor:
        return self.maxpool(self.act1(self.bn1(self.conv1(images))))


class ResNetBranch(nn.Module):
    """The four stages of a ResNet after its stem, global average pooling and a linear projection."""

    def __init__(self, resnet: ResNet, project_to: int) -> None:
        super().__init__()
        self.layer1, self.layer2, self.layer3, self.layer4 = resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4
        self.pool = resnet.global_pool
        self.projection = nn.Linear(resnet.num_features, project_to)

    def forward(self, features: Tensor) -> Tensor:
        return self.projection(self.pool(self.layer4(self.layer3(self.layer2(self.layer1(features))))))


class TwinImageEncoder(nn.Module):
    """Two image encoders for one image, on a common stem or apart; their outputs side by side.

    Args:
        width_out: Width of each of the two outputs.
        backbone, width, pretrained: As in ``create_backbone``.
        share_stem: One stem for both (the backbone must be a ResNet), else two whole networks.
    """

    def __init__(
        self,
        width_out: int,
        backbone: str = "resnet50",
        width: int = PUBLISHED_WIDTH,
        pretrained: bool = False,
        share_stem: bool = True,
    ) -> None:
        super().__init__()
        self.width = 2 * width_out
        if share_stem:
            first, second = (create_backbone(backbone, width, pretrained) for _ in range(2))
            if not isinstance(first, ResNet) or not isinstance(second, ResNet):
                raise OptionError(
                    f"share_stem with the image network {backbone!r}.",
                    "A common stem is defined for the ResNets of timm.",
                    "Choose a ResNet, or --model.share_stem false.",
                )
            self.stem: nn.Module = ResNetStem(first)
            self.first: nn.Module = ResNetBranch(first, width_out)
            self.second: nn.Module = ResNetBranch(second, width_out)
        else:
            self.stem = nn.Identity()
            self.first = ImageEncoder(backbone, width, pretrained, width_out)
            self.second = ImageEncoder(backbone, width, pretrained, width_out)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2 width_out)."""
        features = self.stem(images)
        return torch.cat([self.first(features), self.second(features)], 1)
