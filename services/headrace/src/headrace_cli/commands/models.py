"""`models`: what can be run here, fetching and importing it before it is needed, and how fast it runs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from headrace_inference.host import this_host
from headrace_inference.manifest import Endpoint
from headrace_inference.model_errors import ModelStoreError
from headrace_inference.store import ModelStatus, ModelStore, Progress, default_cache_dir, default_model_dirs

from headrace_cli.exits import Exit, complete
from headrace_cli.options import Json
from headrace_cli.output import complain, err, out, print_json, table

if TYPE_CHECKING:
    from headrace_inference.engines import Opened
    from headrace_inference.tuning import Setting


class EngineChoice(StrEnum):
    """What is to run a folder of onnxruntime-genai's model builder."""

    AUTO = "auto"
    GENAI = "genai"
    SLOTS = "slots"


class DeviceChoice(StrEnum):
    """Where a model is to be measured."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


models = typer.Typer(no_args_is_help=True, help="Models that run here: declared, fetched, verified, imported.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models, name="models")


@models.command("ls")
def models_ls(as_json: Json = False) -> None:
    """List the declared models, and where each lies or runs."""
    listed = ModelStore().ls()
    if as_json:
        print_json(
            [
                {
                    "name": status.spec.name,
                    "kind": status.spec.kind,
                    "licence": status.spec.licence,
                    "path": str(status.path) if status.path else None,
                }
                for status in listed
            ]
        )
        return
    shown = table("model", "kind", "licence", "where")
    for status in listed:
        shown.add_row(status.spec.name, status.spec.kind, status.spec.licence, _where(status))
    out.print(shown)


@models.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models; default: all declared ones.")] = None,
) -> None:
    """Fetch models, verify them by sha256 and import them. One that is there already is left alone.

    Example: [bold]headrace models pull all-minilm-l6-v2[/bold]
    """

    async def work() -> Exit:
        store = ModelStore()
        wanted = names or [status.spec.name for status in store.ls() if not isinstance(status.spec.source, Endpoint)]
        try:
            await asyncio.gather(*(asyncio.to_thread(store.ensure, name, _show) for name in wanted))
        except ModelStoreError as error:
            return complain(str(error), Exit.ITEM_FAILED)
        return Exit.DONE

    complete(work)


@models.command("import")
def models_import(
    source: Annotated[Path, typer.Argument(help="A GGUF file, or a folder of onnxruntime-genai's model builder.")],
    name: Annotated[str, typer.Option(help="What the model is to be called.")],
    licence: Annotated[str, typer.Option(help="Its licence, for the record.")],
    body: Annotated[str, typer.Option(help="Of GGUF: q4x (exact), or int8 (close, any source, faster).")] = "q4x",
    engine: Annotated[
        EngineChoice, typer.Option(help="Of a folder: genai, slots (CPU only), or auto: slots if built for the CPU.")
    ] = EngineChoice.AUTO,
    folder: Annotated[Path | None, typer.Option(help="Where its manifest goes; default: $HEADRACE_MODELS_DIR.")] = None,
) -> None:
    """Declare a language model by a manifest, and import it. Nothing stays declared of what cannot be imported.

    Example: [bold]headrace models import qwen2.5-0.5b-q4_1.gguf --name qwen --licence Apache-2.0[/bold]
    Example: [bold]headrace models import qwen-cuda/ --name qwen-gpu --licence Apache-2.0[/bold]
    """

    async def work() -> Exit:
        from headrace_inference.importing import write_manifest  # noqa: PLC0415 - `gguf` is of no use to other commands

        def imported(directory: Path) -> Path:
            manifest = write_manifest(source, directory, name=name, licence=licence, body=body, engine=engine.value)
            try:
                ModelStore(model_dirs=directories).ensure(name, _show)
            except BaseException:
                manifest.unlink()
                raise
            return manifest

        directories = [folder] if folder else list(default_model_dirs())
        if not directories:
            return complain("say where the manifest goes: --folder, or HEADRACE_MODELS_DIR", Exit.USAGE)
        try:
            manifest = await asyncio.to_thread(imported, directories[0])
        except ModelStoreError as error:
            return complain(str(error), Exit.ITEM_FAILED)
        out.print(f"{manifest}\nServe it: an entry `source: {name}` in HEADRACE_GENERATE__MODELS_FILE")
        return Exit.DONE

    complete(work)


@models.command("tune")
def models_tune(name: Annotated[str, typer.Argument(help="An embedding model.")], as_json: Json = False) -> None:
    """Find the fastest token budget and threads of each variant here, and what it loses: about ten seconds.

    The result holds for this host, this model and this version of ONNX Runtime; embed reads it when it starts. Variants
    that were left out are named with the reason. Leave the machine alone meanwhile.

    Example: [bold]headrace models tune all-minilm-l6-v2[/bold]
    """
    # Heavy, and for this command only.
    from headrace_inference.onnx_session import runtime_version  # noqa: PLC0415
    from headrace_inference.quality import Quality  # noqa: PLC0415
    from headrace_inference.tuner import Trial, tune  # noqa: PLC0415
    from headrace_inference.tuning import Tunings  # noqa: PLC0415

    def show(found: Trial | Quality, variant: str) -> None:
        if isinstance(found, Quality):
            kept = f"cosine {found.cosine_mean:.4f}, top-10 overlap {found.overlap_at_10:.3f}"
            err.print(f"{variant}: {kept}, nDCG@10 lost {found.ndcg_lost:+.4f}")
        else:
            err.print(f"{variant}: {_described(found.setting)}")

    async def work() -> Exit:
        store, host = ModelStore(), this_host()
        try:
            folder = await asyncio.to_thread(partial(store.ensure, name, _show, kind="embedding"))
            tuning = await asyncio.to_thread(partial(tune, folder, cores=host.cores, report=show))
        except ModelStoreError as error:
            return complain(str(error), Exit.ITEM_FAILED)
        path = Tunings(default_cache_dir(), host, runtime_version()).write(folder, tuning)
        if as_json:
            about = {"path": str(path), "host": asdict(host), "onnxruntime": runtime_version()}
            print_json(about | {"fastest": tuning.fastest} | asdict(tuning))
        else:
            for variant, why in tuning.left_out.items():
                out.print(f"{variant}: left out: {why}")
            out.print(f"{tuning.fastest}: {_described(tuning.settings[tuning.fastest])}; kept in {path}")
        return Exit.DONE

    complete(work)


@models.command("bench")
def models_bench(
    name: Annotated[str, typer.Argument(help="A declared model that generates.")],
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 2,
    device: Annotated[DeviceChoice, typer.Option(help="Where; auto: as its folder says.")] = DeviceChoice.AUTO,
    as_json: Json = False,
) -> None:
    """Measure a local model on this machine: reading prompts, and writing with 1, 4 and 16 streams.

    About half a minute. Run it on a machine that does nothing else.
    """

    async def work() -> Exit:
        from headrace_inference.generation_bench import measure_generation  # noqa: PLC0415 - nor are models

        engines: list[Opened] = []

        def heard(opened: Opened) -> None:
            _show_engine(opened)
            engines.append(opened)

        try:
            folder = await asyncio.to_thread(partial(ModelStore().ensure, name, _show, kind="generation"))
            measure = partial(measure_generation, threads=threads, device=device.value, opened=heard)
            rows = await asyncio.to_thread(measure, folder.path)
            (engine,) = engines
        except ModelStoreError as error:
            return complain(str(error), Exit.ITEM_FAILED)
        if as_json:
            where = {"engine": engine.name, "device": engine.device, "note": engine.note}
            print_json({"model": name, "sha256": folder.sha256, "threads": threads, **where, "rows": rows})
            return Exit.DONE
        shown = table("streams", "prompt", "first token ms", "reading tokens/s", "writing tokens/s")
        for row in rows:
            shown.add_row(*(f"{row[key]:g}" for key in row))
        out.print(shown)
        return Exit.DONE

    complete(work)


def _where(status: ModelStatus) -> str:
    if isinstance(status.spec.source, Endpoint):
        return f"hosted at {status.spec.source.base_url}"
    return str(status.path) if status.path else "not fetched yet"


def _show(progress: Progress) -> None:
    err.print(f"{progress.model}: {progress.stage} {progress.detail}")


def _show_engine(opened: Opened) -> None:
    err.print(f"engine {opened.name} on {opened.device}{': ' if opened.note else ''}{opened.note}")


def _described(setting: Setting) -> str:
    return f"{setting.threads} threads, {setting.batch_tokens_max} tokens a batch: {setting.tokens_per_s:,.0f} tokens/s"
