"""The settings of a server, which are the options of `hidiff serve` and `hidiff app`."""

from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict, Field

MIB = 2**20
ANY_HOST = ("0.0.0.0", "::")
MAX_JSON = MIB  # bytes of a request that is no upload
MIN_TOKEN = 16  # characters


class ServeSettings(BaseModel):
    """The address of a server, and its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1",
        description="the address to listen on; any other than this machine's own needs --token",
    )
    port: int = Field(default=1527, ge=0, le=65535, description="the port; 0: any free one")
    token: tuple[str, ...] = Field(
        default=(),
        description="a secret of 16 or more characters that every request must carry; can be "
        "repeated, one a person: nobody reaches the sessions of another token",
    )
    max_sessions: int = Field(default=16, ge=1, description="images that can be open at a time")
    max_upload: int = Field(default=1024, ge=1, description="MiB of one upload")
    max_files: int = Field(default=2000, ge=1, description="files of one upload (DICOM slices)")
    max_unpacked: int = Field(
        default=4096, ge=1, description="MiB that the images of one upload may unpack to"
    )
    cache_mb: int = Field(
        default=2048,
        ge=0,
        description="MB of memory for what the networks made of images, so that the next mark is "
        "quick; shared out among the images that can be open",
    )
    idle_minutes: float = Field(
        default=120.0, gt=0, description="minutes after which a session that nobody uses is closed"
    )
    label: str | None = Field(
        default=None,
        description="the class that marks of an nnInteractive client mean; left out: the only one",
    )
    allowed_host: tuple[str, ...] = Field(
        default=(),
        description="another name of this server, such as that of a proxy; can be repeated",
    )
    allowed_origin: tuple[str, ...] = Field(
        default=(),
        description="the address of a web page of your own that may use the API, such as "
        "http://localhost:5173; can be repeated",
    )

    @property
    def is_local(self) -> bool:
        """Return whether only this machine reaches the server."""
        return is_loopback(self.host)

    @property
    def max_upload_bytes(self) -> int:
        """The most bytes of one upload."""
        return self.max_upload * MIB

    @property
    def cache_mb_each(self) -> int:
        """The part of `cache_mb` of one open image."""
        return self.cache_mb // self.max_sessions

    @property
    def max_unpacked_bytes(self) -> int:
        """The most bytes that the images of one upload may unpack to."""
        return self.max_unpacked * MIB

    def check(self) -> None:
        """Raise ValueError for settings that are not safe together."""
        if not self.is_local and not self.token:
            raise ValueError(
                f"--host {self.host} lets other machines in, so a token is needed. Make one, as "
                "with: python -c 'import secrets; print(secrets.token_urlsafe())', and give it: "
                "--token TOKEN. Without --host only this machine reaches the server."
            )
        for token in self.token:
            if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
                raise ValueError(
                    f"a token has {len(token)} characters, but {MIN_TOKEN} or more printable "
                    "ASCII characters are wanted. Make one, as with: "
                    "python -c 'import secrets; print(secrets.token_urlsafe())'."
                )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself and nothing else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
