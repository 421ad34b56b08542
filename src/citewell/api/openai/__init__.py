"""OpenAI's wire format: each collection is a model, and the local embedder serves vectors."""

from fastapi import APIRouter

from citewell.api.openai import chat_completions, embeddings, models
from citewell.api.openai.errors import OpenAIErrors

__all__ = ["OpenAIErrors", "router"]

router = APIRouter(prefix="/v1", tags=["openai"])
for _resource in (models, chat_completions, embeddings):
    router.include_router(_resource.router)
