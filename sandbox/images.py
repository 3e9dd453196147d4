"""The baked images, as a region of the sandbox finds them: two machine images, each named by an SSM parameter.

In an account of AWS the image pipeline registers them and writes the parameters; here nothing boots, so they are ids.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

IMAGES = {"/mutx/images/base": "ami-00000000000000ba5", "/mutx/images/gpu": "ami-0000000000000006b"}
"""Machine image by SSM parameter."""

ROOT_DEVICE = "/dev/xvda"
"""As Debian's images have it."""


def publish_images() -> None:
    """Have every region's parameter store name the images from its beginning."""
    from moto.ssm.models import Parameter, SimpleSystemManagerBackend  # noqa: PLC0415

    init = SimpleSystemManagerBackend.__init__

    def init_with_images(self: Moto, region_name: str, account_id: str) -> None:
        init(self, region_name, account_id)
        for name, image in IMAGES.items():
            self._parameters[name].append(
                Parameter(  # type: ignore[abstract] # moto makes them like this itself
                    account_id=account_id,
                    name=name,
                    value=image,
                    parameter_type="String",
                    description="the newest baked image",
                    allowed_pattern=None,
                    keyid=None,
                    last_modified_date=datetime.now(UTC),
                    version=1,
                    data_type="aws:ec2:image",
                )
            )

    setattr(SimpleSystemManagerBackend, "__init__", init_with_images)  # noqa: B010 - mypy knows the class


def register_image(backend: Moto, image: str) -> None:
    """Make a baked image known to a region's EC2 when it is first used there."""
    from moto.ec2.models.amis import Ami  # noqa: PLC0415

    if image in IMAGES.values() and image not in backend.amis:
        backend.amis[image] = Ami(
            backend, image, name=f"mutx-{image}", root_device_type="ebs", root_device_name=ROOT_DEVICE,
            virtualization_type="hvm", architecture="x86_64",
        )  # fmt: skip
