"""Every setting, with what it does; read once at a door and passed down as values.

Order: ``CITEWELL_`` environment variables, then ``.env`` in the working folder, then defaults.
Nested fields join with two underscores: ``CITEWELL_RETRIEVAL__CANDIDATES=200``.
"""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from citewell.errors import AccessError, InputError

MEBIBYTE = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "::1", "[::1]", "localhost"})
CALLBACK_PATH = "/auth/oidc/callback"
LEAST_PEPPER_CHARACTERS = 32


def default_data_folder() -> Path:
    """Return the lasting data folder of this user, by the XDG base directory rules."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "citewell"


def default_cache_folder() -> Path:
    """Return this user's cache folder, by the XDG base directory rules."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "citewell"


def _is_private_link(url: str) -> bool:
    """Say whether nobody between can read what goes to an address."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogSettings(_Group):
    """How log lines look."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["plain", "json"] = Field(
        default="plain", description="Plain lines, or one JSON a line."
    )


class UploadSettings(_Group):
    """What one upload may hold."""

    max_file_bytes: int = Field(default=50 * MEBIBYTE, ge=1, description="Largest file, in bytes.")
    max_files: int = Field(default=1000, ge=1, description="Most files in one request.")
    max_request_bytes: int = Field(
        default=512 * MEBIBYTE, ge=1, description="Largest request, in bytes."
    )


class ParseSettings(_Group):
    """Limits of the process that reads files."""

    timeout_seconds: float = Field(default=60.0, gt=0, description="Longest time for one file.")
    cpu_seconds: int = Field(
        default=0, ge=0, description="Most processor time for one file; 0 fits the longest time."
    )
    memory_bytes: int = Field(
        default=1024 * MEBIBYTE, ge=256 * MEBIBYTE, description="Most memory."
    )
    max_written_bytes: int = Field(
        default=256 * MEBIBYTE, ge=0, description="Largest temporary file of a parser, in bytes."
    )
    max_threads: int = Field(
        default=64, ge=16, le=4096, description="Most threads of one parser process."
    )
    max_text_characters: int = Field(
        default=20_000_000, ge=1, description="Longest text of one file."
    )
    processes: int = Field(
        default=2, ge=1, le=64, description="Parser processes kept warm per worker."
    )
    ocr: Literal["auto", "off"] = Field(
        default="auto", description="auto = pages that are images are read, where OCR is installed."
    )
    ocr_seconds: float = Field(
        default=600.0, gt=0, description="Longest time for one file's OCR, beyond the time to read."
    )


class ChunkSettings(_Group):
    """How text is cut for the embedder."""

    size_tokens: int = Field(default=200, ge=32, le=2048, description="Most tokens in one chunk.")
    overlap_tokens: int = Field(default=0, ge=0, description="Tokens that two neighbours share.")


class EmbedderSettings(_Group):
    """The model that turns text into vectors."""

    model: str = Field(
        default="minilm",
        description="minilm = all-MiniLM-L6-v2 on the CPU; or openai:NAME, ollama:NAME, "
        "sentence-transformers:NAME_OR_FOLDER.",
    )
    runtime: Literal["onnx", "openvino"] = Field(
        default="onnx",
        description="What runs minilm: onnx in 8 bits, or openvino in bfloat16, which is an extra.",
    )
    threads: int = Field(default=0, ge=0, description="Threads of the model; 0 fits the machine.")
    cache_questions: int = Field(
        default=2048, ge=0, le=1_000_000, description="Questions whose vectors are kept in memory."
    )
    base_url: str | None = Field(
        default=None, description="Address of an embedding API that speaks OpenAI's protocol."
    )
    api_key: SecretStr | None = Field(default=None, description="The embedding API's key.")
    dimension: int | None = Field(
        default=None, ge=1, le=4000, description="Numbers in a vector, where it is not known."
    )
    send_dimension: bool = Field(
        default=False, description="Ask the API for vectors of this dimension."
    )
    window_tokens: int = Field(
        default=512,
        ge=32,
        le=131_072,
        description="Tokens that an API's model can read; the rest is cut.",
    )
    query_prefix: str = Field(default="", description="Text before each question.")
    document_prefix: str = Field(default="", description="Text before each chunk.")
    query_input_type: str | None = Field(
        default=None, description="What the API is told of questions, as in query."
    )
    document_input_type: str | None = Field(
        default=None, description="What the API is told of chunks, as in document."
    )
    input_type_field: str = Field(
        default="input_type", description="The API's name for that; Jina's is task."
    )
    batch_texts: int = Field(default=64, ge=1, le=256, description="Most texts in one API call.")
    batch_tokens: int = Field(
        default=16_384, ge=32, description="Most tokens in one API call, by estimate."
    )
    timeout_seconds: float = Field(
        default=30.0, gt=0, description="Longest time for one API call with all its tries."
    )
    max_concurrent: int = Field(
        default=4, ge=1, le=1000, description="API calls at once, in each process."
    )
    max_attempts: int = Field(default=4, ge=1, le=20, description="Tries of one API call.")


class RetrievalSettings(_Group):
    """How chunks are found."""

    candidates: int = Field(default=100, ge=1, le=1000, description="Chunks that each leg returns.")
    dense_weight: float = Field(
        default=0.5, ge=0, le=1, description="Share of the dense leg in the fusion."
    )
    exact_below_chunks: int = Field(
        default=10_000, ge=0, description="Up to here search is exact, no HNSW."
    )
    hnsw_ef_search: int = Field(
        default=100,
        ge=10,
        le=1000,
        description="HNSW breadth, more above 50,000 vectors: recall for time.",
    )
    cache_searches: int = Field(
        default=2000,
        ge=0,
        le=100_000,
        description="Results of ten chunks that an API process keeps until a change; 0: none.",
    )


class ModelSettings(_Group):
    """The language model that ``CITEWELL_ANSWER__CHAT_MODEL`` names, if it is not extractive."""

    base_url: str | None = Field(
        default=None, description="Address of an OpenAI-compatible, Ollama or proxy server."
    )
    api_key: SecretStr | None = Field(default=None, description="The provider's key.")
    timeout_seconds: float = Field(default=60.0, gt=0, description="Longest time for one call.")
    window_tokens: int = Field(default=8192, ge=512, description="Tokens that the model can read.")
    max_output_tokens: int = Field(default=1024, ge=16, description="Longest answer, in tokens.")
    max_concurrent: int = Field(
        default=4, ge=1, le=1000, description="Generations at once, in each process."
    )
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="Tries of one call, before its first word."
    )
    pause_after_failures: int = Field(
        default=5, ge=1, description="Failed calls in a row after which the model is left alone."
    )
    pause_seconds: float = Field(
        default=30.0, gt=0, description="How long it is left alone then; one call tries it first."
    )
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 is the most repeatable.")
    structured: Literal["auto", "native", "tool", "prompted"] = Field(
        default="auto",
        description="How JSON is asked for: by schema, as a tool's call, in words; auto = best.",
    )
    input_usd_per_million: float | None = Field(
        default=None, ge=0, description="Price of a million input tokens, if it is not known."
    )
    output_usd_per_million: float | None = Field(
        default=None, ge=0, description="Price of a million output tokens, if it is not known."
    )

    @model_validator(mode="after")
    def _both_prices(self) -> Self:
        if (self.input_usd_per_million is None) != (self.output_usd_per_million is None):
            raise ValueError("set the prices of input and output tokens together")
        return self


class RerankSettings(_Group):
    """A second, better look at the best candidates."""

    by: Literal["none", "model", "http", "onnx"] = Field(
        default="none",
        description="model = the chat model, http = a rerank API, onnx = a local cross-encoder.",
    )
    candidates: int = Field(default=30, ge=1, le=200, description="Chunks that are looked at.")
    url: str | None = Field(default=None, description="Address of the rerank API.")
    form: Literal["cohere", "tei"] = Field(
        default="cohere",
        description="cohere = also Jina, Voyage, vLLM; tei = Text Embeddings Inference.",
    )
    model: str | None = Field(default=None, description="The rerank API's model.")
    api_key: SecretStr | None = Field(default=None, description="The rerank API's key.")
    folder: Path | None = Field(
        default=None, description="Folder with model.onnx and tokenizer.json of a cross-encoder."
    )
    timeout_seconds: float = Field(default=5.0, gt=0, description="Longest time for reranking.")


class SessionSettings(_Group):
    """Conversations."""

    hours: float = Field(default=24.0, gt=0, description="Hours until an unused session ends.")
    max_history: int = Field(
        default=10, ge=0, le=100, description="Earlier messages that a question is understood with."
    )
    wait_seconds: float = Field(
        default=30.0, ge=0, description="How long a message waits for the one before it."
    )


class AnswerSettings(_Group):
    """How questions are answered and when they are refused."""

    chat_model: str = Field(
        default="extractive",
        description="extractive, or provider:name: ollama, openai, openai-responses, anthropic, "
        "google.",
    )
    mode: str = Field(default="standard", description="How to answer when a request names none.")
    citations: Literal["drop", "mark", "refuse"] = Field(
        default="drop", description="What becomes of a sentence that its sources do not bear out."
    )
    delivery: Literal["sentence", "token"] = Field(
        default="sentence", description="Checked sentences are streamed whole, or word by word."
    )
    rewriting: Literal["off", "multi-query", "hyde"] = Field(
        default="off", description="Search also for other forms of the question; needs a model."
    )
    min_similarity: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Least cosine of a chunk that counts as evidence; 0 lets all pass.",
    )
    neighbours: int = Field(
        default=0,
        ge=0,
        le=5,
        description="Chunks on each side, of its section, that join each best one.",
    )
    same_meaning: float = Field(
        default=1.0,
        ge=0.5,
        le=1,
        description="Share of words from which a chunk repeats a better one; 1 keeps all.",
    )
    deadline_seconds: float = Field(
        default=60.0, gt=0, le=600, description="Longest time for one answer."
    )
    max_cost_usd: float | None = Field(
        default=None, ge=0, description="Most money for one answer, by estimate."
    )
    max_question_characters: int = Field(default=4000, ge=1, description="Longest question.")
    max_evidence: int = Field(
        default=6, ge=1, le=50, description="Chunks that an answer may rest on."
    )
    max_sentences: int = Field(
        default=3, ge=1, le=20, description="Most sentences in a quoted answer."
    )
    keep_days: int = Field(default=30, ge=0, description="Days that answers are kept for replay.")


class JobSettings(_Group):
    """How background jobs are kept alive."""

    lease_seconds: float = Field(
        default=60.0, gt=0, description="A silent worker loses its job after this."
    )
    heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="How often a worker says it lives."
    )
    max_attempts: int = Field(default=5, ge=1, description="Tries before a job fails for good.")
    reconcile_seconds: float = Field(
        default=15.0, gt=0, description="How often lost jobs are looked for."
    )
    unsent_after_seconds: float = Field(
        default=30.0, gt=0, description="A queued job is sent again after."
    )
    concurrency: int = Field(
        default=64, ge=1, le=1024, description="Jobs that one worker process runs at once."
    )
    processes: int = Field(
        default=2, ge=1, le=64, description="Worker processes that `citewell up` keeps running."
    )
    silent_after_seconds: float = Field(
        default=30.0, gt=0, description="`up` replaces a worker that is silent for this long."
    )


class ExportSettings(_Group):
    """Files of records that an admin asked for."""

    keep_days: float = Field(
        default=7.0, gt=0, le=3650, description="Days that an export's file can be downloaded."
    )


class VersionSettings(_Group):
    """What is kept of documents that were uploaded anew."""

    keep: int = Field(default=3, ge=0, description="Earlier versions of a document that are kept.")


class WorkspaceSettings(_Group):
    """What becomes of workspaces."""

    purge_days: int = Field(
        default=30, ge=0, le=3650, description="Days from a workspace's deletion to its purge."
    )


class EgressSettings(_Group):
    """Requests to addresses that a user named, such as a webhook's."""

    enabled: bool = Field(default=False, description="Call addresses that users name: webhooks.")
    allow_private: bool = Field(
        default=False, description="Such calls also by http and to intranets."
    )


class LimitSettings(_Group):
    """How much callers may ask for; 0 switches a limit off."""

    requests_per_minute: int = Field(
        default=600, ge=0, description="Requests a minute of a key, or of an address without one."
    )
    questions_per_minute: int = Field(
        default=120, ge=0, description="Of these, questions and searches."
    )
    failures_per_minute: int = Field(
        default=30, ge=0, description="Requests a minute of an address whose key is not valid."
    )
    streams_per_key: int = Field(default=20, ge=0, description="Open event streams of a key.")
    streams_per_workspace: int = Field(
        default=200, ge=0, description="Open event streams of all keys in a workspace."
    )
    local: bool = Field(
        default=False, description="Count also programs of this machine that need no key."
    )


class AuthSettings(_Group):
    """Who may call the API."""

    mode: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="auto = a key is required unless only this machine can reach the API; off is "
        "refused where others can.",
    )
    pepper: SecretStr | None = Field(
        default=None,
        description="Secret that keys are hashed with, 32 characters or more, the same for every "
        "API process; `up` makes its own.",
    )
    keys: SecretStr | None = Field(
        default=None,
        description="Keys of a fleet: KEY=owner or KEY=ROLE@WORKSPACE, with commas between them.",
    )
    local_key: SecretStr | None = Field(
        default=None,
        description="What the command line on the data folder proves itself with; `up` makes a new "
        "one at each start.",
    )
    cache_seconds: float = Field(
        default=2.0,
        ge=0,
        le=2.5,
        description="How long a process goes on trusting a key that was revoked elsewhere.",
    )

    session_hours: float = Field(
        default=12.0, gt=0, le=720, description="Hours until a browser has to sign in again."
    )

    @field_validator("pepper")
    @classmethod
    def _long_enough(cls, pepper: SecretStr | None) -> SecretStr | None:
        if pepper is None or not pepper.get_secret_value():
            return None
        if len(pepper.get_secret_value()) < LEAST_PEPPER_CHARACTERS:
            raise ValueError(f"must have {LEAST_PEPPER_CHARACTERS} characters or more")
        return pepper


class OidcSettings(_Group):
    """Sign-in at a provider, by OpenID Connect; needs ``citewell[oidc]``."""

    issuer: str | None = Field(
        default=None, description="The provider's issuer, as its discovery document names it."
    )
    client_id: str | None = Field(default=None, description="Our id at the provider.")
    client_secret: SecretStr | None = Field(
        default=None, description="Our secret at the provider; none for a public client."
    )
    redirect_url: str | None = Field(
        default=None,
        description="Our address that ends with /auth/oidc/callback, as the provider knows it.",
    )
    scopes: str = Field(default="openid profile email", description="What the provider is asked.")
    groups_claim: str = Field(default="groups", description="Claim that holds a person's groups.")
    roles: str | None = Field(
        default=None,
        description="What groups may do: GROUP=owner or GROUP=ROLE@WORKSPACE, with commas.",
    )
    timeout_seconds: float = Field(
        default=10.0, gt=0, le=60, description="Longest time for one call of the provider."
    )

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        if not self.issuer:
            return self
        if not (self.client_id and self.redirect_url and self.roles):
            raise ValueError("set client_id, redirect_url and roles together with issuer")
        if not self.redirect_url.endswith(CALLBACK_PATH):
            raise ValueError(f"redirect_url must end with {CALLBACK_PATH}")
        if not all(map(_is_private_link, (self.issuer, self.redirect_url))):
            raise ValueError("issuer and redirect_url must begin with https://")
        return self


class Settings(BaseSettings):
    """All settings of one Citewell process."""

    model_config = SettingsConfigDict(
        env_prefix="CITEWELL_",
        env_nested_delimiter="__",
        env_file=".env",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    data: Path = Field(default_factory=default_data_folder, description="Folder for all data.")
    cache: Path = Field(
        default_factory=default_cache_folder, description="Folder for what can be made again."
    )
    inbox: Path | None = Field(
        default=None, description="Folder that `POST /rag/pipeline` may take files from."
    )
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL with pgvector; empty starts the embedded server."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Valkey or Redis; empty starts the embedded server."
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port of the API; 0 takes a free one."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("localhost", "127.0.0.1", "[::1]"),
        description="Host names that requests may use, with commas between them.",
    )
    proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of your proxies: X-Forwarded-For counts from them only.",
    )
    key: SecretStr | None = Field(default=None, description="API key that the command line sends.")
    workspace: str | None = Field(
        default=None, description="Id or name of the workspace that the command line works in."
    )
    database_pool: int = Field(default=10, ge=2, le=200, description="Most PostgreSQL connections.")
    auth: AuthSettings = AuthSettings()
    oidc: OidcSettings = OidcSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    upload: UploadSettings = UploadSettings()
    parse: ParseSettings = ParseSettings()
    chunk: ChunkSettings = ChunkSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    model: ModelSettings = ModelSettings()
    rerank: RerankSettings = RerankSettings()
    session: SessionSettings = SessionSettings()
    jobs: JobSettings = JobSettings()
    versions: VersionSettings = VersionSettings()
    workspaces: WorkspaceSettings = WorkspaceSettings()
    egress: EgressSettings = EgressSettings()
    exports: ExportSettings = ExportSettings()

    @field_validator("allowed_hosts", "proxies", mode="before")
    @classmethod
    def _split(cls, listed: object) -> object:
        if not isinstance(listed, str):
            return listed
        return tuple(item.strip() for item in listed.split(",") if item.strip())

    @field_validator("inbox", mode="before")
    @classmethod
    def _none_when_empty(cls, folder: object) -> object:
        return folder or None

    @field_validator("data", "cache", "inbox")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings at a door; ``None`` overrides are left out.

        Raises:  InputError – a value is not valid; the message names the variable, never its value.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        if unknown := sorted(_given_variables() - known_variables()):
            raise InputError(
                f"{unknown[0]} is not a setting. `citewell settings` lists them all; correct it or "
                "remove it."
            )
        try:
            return cls(**given)  # pyright: ignore[reportArgumentType]
        except SettingsError as error:
            raise InputError(f"A setting cannot be read: {error}.") from error
        except ValidationError as error:
            lines = [
                f"CITEWELL_{'__'.join(str(part).upper() for part in problem['loc'])}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
            raise InputError("A setting is not valid. " + "; ".join(lines)) from error

    @property
    def blobs_folder(self) -> Path:
        """Where uploaded bytes lie."""
        return self.data / "blobs"


def opened_by(settings: Settings) -> str | None:
    """Name the setting by which others than this machine can reach the API; None if they cannot."""
    if settings.host not in LOOPBACK:
        return "CITEWELL_HOST"
    if not LOOPBACK.issuperset(settings.allowed_hosts):
        return "CITEWELL_ALLOWED_HOSTS"
    return "CITEWELL_PROXIES" if settings.proxies else None


def key_required(settings: Settings) -> bool:
    """Say whether every request needs a key: always, unless only this machine can reach the API."""
    return settings.auth.mode == "required" or opened_by(settings) is not None


def refuse_open_door(settings: Settings) -> None:
    """Refuse to be without authentication where others can reach the API.

    Raises:  AccessError – the message names the settings that do not go together.
    """
    opening = opened_by(settings)
    if settings.auth.mode == "off" and opening is not None:
        raise AccessError(
            f"Citewell does not run without authentication where {opening} lets others reach it: "
            "they could read your documents. Remove CITEWELL_AUTH__MODE=off, or let "
            f"{opening} be for this machine only."
        )


NOT_SETTINGS = {"CITEWELL_URL"}
"""Variables of ours that are no settings: the command line's --url."""


def known_variables(group: type[BaseModel] = Settings, prefix: str = "CITEWELL_") -> set[str]:
    """Return the name of every variable that is a setting, or a group of settings as JSON."""
    names = set(NOT_SETTINGS)
    for name, field in group.model_fields.items():
        variable = prefix + name.upper()
        names.add(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Group):
            names |= known_variables(field.annotation, variable + "__")
    return names


def _given_variables() -> set[str]:
    """Return our variables in the environment and in ``.env``, so that a misspelt one is seen."""
    names = {*os.environ, *dotenv_values(".env")}
    return {name.upper() for name in names if name.upper().startswith("CITEWELL_")}
