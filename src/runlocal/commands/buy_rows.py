"""The rows of `buy`: what an offer is in the words of people and in the keys of machine formats."""

from runlocal.catalog.gpu_entries import GpuPrice, price_text
from runlocal.core.listing import Column, Form, Shown, Value
from runlocal.solve.buy import Offer

COLUMNS = (
    Column("machine", "machine"),
    Column("spec", "--gpu", on=Shown.DATA),
    Column("cards", "cards", Form.NUMBER, on=Shown.DATA),
    Column("vendor", "vendor", on=Shown.DATA),
    Column("form", "form", on=Shown.DATA),
    Column("memory_bytes", "memory", Form.GIB),
    Column("usable_bytes", "usable", Form.GIB, on=Shown.DATA),
    Column("answer", "answer", Form.ANSWER, on=Shown.DATA),
    Column("reason", "why not", on=Shown.DATA),
    Column("need_bytes", "needs", Form.GIB, on=Shown.DATA),
    Column("headroom_min_bytes", "left", Form.GIB),
    Column("fits_context_tokens", "fits at", Form.TOKENS),
    Column("speed", "est. t/s", Form.NUMBER, on=Shown.SCREEN),
    Column("tokens_per_second_least", "t/s at least", Form.NUMBER, on=Shown.DATA),
    Column("tokens_per_second_most", "t/s at most", Form.NUMBER, on=Shown.DATA),
    Column("tokens_per_second_basis", "t/s are", on=Shown.DATA),
    Column("tokens_per_second_because", "t/s because", on=Shown.DATA),
    Column("price", "price", on=Shown.SCREEN),
    Column("price_usd", "price", Form.DOLLARS, on=Shown.DATA),
    Column("price_to_usd", "price up to", Form.DOLLARS, on=Shown.DATA),
    Column("price_kind", "kind of price", on=Shown.DATA),
    Column("price_date", "of", on=Shown.DATA),
    Column("price_source", "price from", on=Shown.DATA),
    Column("prices", "all prices of one", on=Shown.DATA),
    Column("bandwidth_bytes", "bandwidth of one", Form.RATE, on=Shown.DATA),
    Column("tdp_w", "power (W)", Form.NUMBER, on=Shown.DATA),
    Column("launched", "launched", on=Shown.DATA),
)
# A comparison has noes too, for which the memory gives way.
COMPARED = {
    "answer": Column("answer", "answer", Form.ANSWER),
    "memory_bytes": Column("memory_bytes", "memory", Form.GIB, on=Shown.DATA),
    "fits_context_tokens": Column("fits_context_tokens", "up to", Form.LONGEST),
}


def row_of(offer: Offer) -> dict[str, Value]:
    """A value per key of `COLUMNS`."""
    first, count = offer.boards[0] if offer.boards else (None, 0)
    alone = first if len(offer.boards) == 1 else None
    price = alone.price if alone else None
    cards = offer.machine.gpus
    found = offer.speed
    return {
        "machine": name_of(offer),
        "spec": _spec(offer),
        "cards": sum(boards for _, boards in offer.boards) or len(cards),
        "vendor": alone.vendor if alone else None,
        "form": alone.form if alone else None,
        "memory_bytes": sum(card.memory_bytes for card in cards),
        "usable_bytes": offer.usable_bytes,
        "answer": offer.answer,
        "reason": offer.reason,
        "need_bytes": offer.need_bytes,
        "headroom_min_bytes": min(offer.headroom_bytes, default=None),
        "fits_context_tokens": offer.fits_context_tokens,
        "speed": found.text if found else None,
        "tokens_per_second_least": found.rounded[0] if found else None,
        "tokens_per_second_most": found.rounded[1] if found else None,
        "tokens_per_second_basis": found.basis if found else None,
        "tokens_per_second_because": found.because if found else None,
        "price": cost_of(offer),
        "price_usd": offer.price_usd,
        "price_to_usd": offer.price_to_usd,
        "price_kind": price.kind if price else None,
        "price_date": price.date if price else None,
        "price_source": price.source.url if price else None,
        "prices": tuple(_cited(price) for price in alone.prices) if alone else None,
        "bandwidth_bytes": cards[0].bandwidth_bytes if len({card.bandwidth_bytes for card in cards}) == 1 else None,
        "tdp_w": alone.tdp_w * count if alone and alone.tdp_w is not None else None,
        "launched": alone.launched if alone else None,
    }


def name_of(offer: Offer) -> str:
    """As people say it; a laptop's chip says that it is one."""
    laptop = any(entry.form == "laptop" and "Laptop" not in entry.name for entry, _ in offer.boards)
    return f"{offer.machine.label} (laptop)" if laptop else offer.machine.label


def _spec(offer: Offer) -> str:
    if not offer.boards:
        return str(offer.machine.gpus[0].id)
    return "+".join(entry.id if count == 1 else f"{count}x{entry.id}" for entry, count in offer.boards)


def cost_of(offer: Offer) -> str | None:
    """What all boards cost; where they are not sold, what one is by the hour."""
    if offer.price_usd is not None:
        return price_text([(board.price, count) for board, count in offer.boards if board.price])
    hourly = [price for board, _ in offer.boards for price in board.prices if price.kind == "cloud"]
    return price_text([(hourly[-1], 1)]) if hourly and len(offer.boards) == 1 else None


def _cited(price: GpuPrice) -> str:
    amounts = " to ".join(f"${amount:,g}" for amount in (price.usd, price.to_usd) if amount is not None)
    return f"{amounts}{' an hour' if price.kind == 'cloud' else ''}, {price.kind}, {price.date} ({price.source.url})"
