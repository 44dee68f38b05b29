"""The arguments of `vergence reward-model`; nothing here needs torch."""

import argparse
from collections.abc import Callable
from pathlib import Path

from vergence.recipe.reward_model import RewardModelStage, SecondPhase, SourcesSection
from vergence.recipe.sections import Roles, Trained

Quieten = Callable[[], None]
"""What has to happen before torch is imported."""


def add_reward_model(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", quieten: Quieten) -> None:
    """`reward-model` and its five commands."""
    summary = "train, measure, average and serve reward models"
    top = commands.add_parser("reward-model", help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    below = top.add_subparsers(required=True, metavar="WHAT")

    def added(name: str, call: Callable[[argparse.Namespace], None], summary: str) -> argparse.ArgumentParser:
        sub = below.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

        def command(options: argparse.Namespace) -> None:
            quieten()
            call(options)

        sub.set_defaults(command=command)
        sub.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
        return sub

    train = added("train", _train, "train a reward model on a file of preference pairs")
    train.add_argument("model", type=Path, metavar="MODEL_DIR", help="the vision-language model to begin with")
    train.add_argument("--pairs", type=Path, required=True, metavar="FILE", help="JSON lines (docs/reward_models.md)")
    train.add_argument("--held-out", type=Path, metavar="FILE", help="pairs to measure on")
    train.add_argument(
        "--held-out-share",
        type=_share,
        default=0.1,
        metavar="SHARE",
        help="of the problems of --pairs, to measure on where no file is named (default: 0.1)",
    )
    train.add_argument("--out", type=Path, required=True, metavar="DIR")
    train.add_argument("--steps", type=_positive, default=500, metavar="N", help="updates (default: 500)")
    train.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="comparisons (default: 32)")
    train.add_argument("--learning-rate", type=_rate, default=1e-5, help="of adapter and language (default: 1e-5)")
    train.add_argument("--head-learning-rate", type=_rate, default=1e-4, help="of the scalar head (default: 1e-4)")
    train.add_argument("--elsewhere", type=_share, default=1.0, metavar="SHARE", help="responses to other problems")
    train.add_argument("--wrong-image", type=_share, default=1.0, metavar="SHARE", help="other problems' pictures")
    train.add_argument("--second-steps", type=_count, default=0, metavar="N", help="updates with text mixed in")
    train.add_argument("--second-factor", type=_rate, default=0.1, help="of the learning rates there (default: 0.1)")
    train.add_argument(
        "--text-share", type=_share, default=0.5, metavar="SHARE", help="of a batch there (default: 0.5)"
    )
    train.add_argument("--microbatch-tokens", type=_positive, default=16384, metavar="N")
    train.add_argument("--checkpoint-every", type=_positive, default=50, metavar="N")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--quiet", action="store_true", help="print nothing but errors")

    measure = added("measure", _measure, "measure a reward model on preference pairs")
    measure.add_argument("reward_model", metavar="REWARD_MODEL", help="a directory, or the address of a server")
    measure.add_argument("--pairs", type=Path, required=True, metavar="FILE")
    measure.add_argument("--out", type=Path, metavar="FILE", help="write the report as JSON")

    score = added("score", _score, "score the responses of a file")
    score.add_argument("reward_model", metavar="REWARD_MODEL", help="a directory, or the address of a server")
    score.add_argument("--data", type=Path, required=True, metavar="FILE", help="JSON lines with responses")
    score.add_argument("--out", type=Path, metavar="FILE", help="write JSON lines there (default: print them)")

    mean = added("average", _average, "average the weights of several reward models")
    mean.add_argument("members", type=Path, nargs="+", metavar="DIR")
    mean.add_argument("--out", type=Path, required=True, metavar="DIR")
    mean.add_argument("--pairs", type=Path, metavar="FILE", help="measure the calibration again on these responses")

    serve = added("serve", _serve, "serve a reward model over HTTP, in the OpenAI-style scoring form")
    serve.add_argument("reward_model", metavar="DIR")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine only)")
    serve.add_argument("--port", type=_count, default=8000, metavar="N", help="0 takes a free one (default: 8000)")
    serve.add_argument("--name", default="", help="the model's name in requests (default: the directory's)")
    serve.add_argument(
        "--wait",
        type=_seconds,
        default=0.005,
        metavar="SECONDS",
        help="for requests to compute together (default: 0.005); with 0 each is computed by itself",
    )


def _train(options: argparse.Namespace) -> None:
    from vergence.commands.reward_model import train_command
    from vergence.stages.reward_model.alone import Wish

    trained = Trained(learning_rate=options.learning_rate)
    section = RewardModelStage(
        type="reward_model",
        steps=options.steps,
        batch_size=options.batch_size,
        checkpoint_every=options.checkpoint_every,
        head_learning_rate=options.head_learning_rate,
        train=Roles(adapter=trained, language=trained),
        sources=SourcesSection(elsewhere=options.elsewhere, wrong_image=options.wrong_image),
        second=SecondPhase(
            steps=options.second_steps,
            learning_rate_factor=options.second_factor,
            text_share=options.text_share,
        ),
    )
    wish = Wish(
        model=options.model,
        pairs=options.pairs,
        held_out=options.held_out,
        held_out_share=options.held_out_share,
        section=section,
        seed=options.seed,
        microbatch_tokens=options.microbatch_tokens,
    )
    train_command(wish, options.out, device=options.device, quiet=options.quiet)


def _measure(options: argparse.Namespace) -> None:
    from vergence.commands.reward_model import measure_command

    measure_command(options.reward_model, options.pairs, out=options.out, device=options.device)


def _score(options: argparse.Namespace) -> None:
    from vergence.commands.reward_model import score_command

    score_command(options.reward_model, options.data, out=options.out, device=options.device)


def _average(options: argparse.Namespace) -> None:
    from vergence.commands.reward_model import average_command

    average_command(options.members, options.out, pairs=options.pairs, device=options.device)


def _serve(options: argparse.Namespace) -> None:
    from vergence.commands.reward_model import serve_command

    serve_command(
        options.reward_model,
        host=options.host,
        port=options.port,
        name=options.name,
        wait=options.wait,
        device=options.device,
    )


def _number(text: str, low: float, high: float, what: str) -> float:
    value = float(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be {what}, found {value:g}")
    return value


def _share(text: str) -> float:
    return _number(text, 0.0, 1.0, "between 0 and 1")


def _rate(text: str) -> float:
    return _number(text, 1e-12, 1.0, "above 0, and at most 1")


def _seconds(text: str) -> float:
    return _number(text, 0.0, 60.0, "between 0 and 60 seconds")


def _count(text: str) -> int:
    return int(_number(text, 0.0, 2.0**31, "0 or more"))


def _positive(text: str) -> int:
    return int(_number(text, 1.0, 2.0**31, "1 or more"))
