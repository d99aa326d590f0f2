"""Many small Kalman filters at once, for things that keep their velocity: one along a line each, one in a plane each.

The velocity wanders: its variance grows by `wander`² per second (the continuous white-noise acceleration model;
Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, section 6.2). What is
measured is the place. A measurement that no steady motion explains is a jump: of the part that is seen, not of the
thing. The place is then taken as measured, and the velocity stays what it was, as unsure as a second later.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LineFilters", "PlaneFilters"]


class LineFilters:
    """k × t independent filters of one coordinate each.

    Attributes:
        state: float64 `[5, k, t]`: place p, velocity v, and the variances pp, pv, vv.
    """

    def __init__(self, kinds: int) -> None:
        self.state = np.empty((5, kinds, 0))

    @property
    def places(self) -> np.ndarray:
        """float64 `[k, t]`."""
        return self.state[0]

    @property
    def variances(self) -> np.ndarray:
        """float64 `[k, t]`, of the places."""
        return self.state[2]

    def start(
        self, places: np.ndarray, velocities: np.ndarray, place_std: np.ndarray, velocity_std: np.ndarray
    ) -> None:
        """n more filters; places and velocities `[k, n]`, standard deviations `[n]`."""
        more = np.zeros((5, *places.shape))
        more[0], more[1], more[2], more[4] = places, velocities, place_std**2, velocity_std**2
        self.state = np.concatenate([self.state, more], axis=2)

    def keep(self, which: np.ndarray) -> None:
        """Drop all filters but these; bool `[t]` or indices."""
        self.state = self.state[:, :, which]

    def predict(self, passed_s: float, wander: np.ndarray, growth: np.ndarray) -> None:
        """Time passes.

        Args:
            wander: `[t]`, how much the velocity wanders in a second.
            growth: `[t]`, 1/s, below 1 / passed_s.
        """
        p, v, pp, pv, vv = self.state
        grown = wander * wander * passed_s
        nearer = 1 / (1 - passed_s * growth)
        p += passed_s * v * nearer
        v *= nearer * nearer
        pp += passed_s * (2 * pv + passed_s * vv + passed_s / 3 * grown)
        pv += passed_s * (vv + 0.5 * grown)
        vv += grown

    def update(
        self, which: np.ndarray, measured: np.ndarray, std: np.ndarray, wander: np.ndarray, jump_std: float
    ) -> np.ndarray:
        """Measurements `[k, m]` of the filters `which` (indices `[m]`).

        Args:
            std: float64 `[m]`, of the measurements.
            wander: float64 `[m]`, as in `predict`.
            jump_std: what lies further off than so many standard deviations is a jump.

        Returns:
            bool `[k, m]`, what was a jump.
        """
        p, v, pp, pv, vv = self.state[:, :, which]
        noise = np.broadcast_to(std * std, pp.shape)
        total = pp + noise
        off = measured - p
        jumped = off * off > jump_std * jump_std * total
        gain_p, gain_v = pp / total, pv / total
        fresh = np.stack([p + gain_p * off, v + gain_v * off, pp * (1 - gain_p), pv * (1 - gain_p), vv - gain_v * pv])
        seated = np.stack([measured, v, noise, np.zeros_like(pv), vv + wander * wander])
        self.state[:, :, which] = np.where(jumped, seated, fresh)
        return jumped


class PlaneFilters:
    """t filters of places in a plane; measurements may be as long and narrow as they like.

    Attributes:
        means: float64 `[t, 4]`: x, y and their velocities; NaN where nothing was measured yet.
        covariances: float64 `[t, 4, 4]`.
    """

    def __init__(self) -> None:
        self.means, self.covariances = np.empty((0, 4)), np.empty((0, 4, 4))

    @property
    def known(self) -> np.ndarray:
        """bool `[t]`: what was ever measured."""
        known: np.ndarray = np.isfinite(self.means[:, 0])
        return known

    def start(self, count: int) -> None:
        """More filters, of which nothing is known."""
        self.means = np.concatenate([self.means, np.full((count, 4), np.nan)])
        self.covariances = np.concatenate([self.covariances, np.full((count, 4, 4), np.nan)])

    def forget(self) -> None:
        """Nothing is known of any."""
        self.means[:], self.covariances[:] = np.nan, np.nan

    def keep(self, which: np.ndarray) -> None:
        """Drop all filters but these; bool `[t]` or indices."""
        self.means, self.covariances = self.means[which], self.covariances[which]

    def predict(self, passed_s: float, wander: float) -> None:
        """Time passes; the velocity wanders by `wander` in a second, along each axis."""
        means, cov = self.means, self.covariances
        means[:, :2] += passed_s * means[:, 2:]
        # Blocks: place-place first, while the others are still old.
        across, speed = cov[:, :2, 2:], cov[:, 2:, 2:]
        cov[:, :2, :2] += passed_s * (across + across.swapaxes(1, 2) + passed_s * speed)
        across += passed_s * speed
        cov[:, 2:, :2] = across.swapaxes(1, 2)
        grown = wander * wander * passed_s
        for i in (0, 1):
            cov[:, i, i] += grown * passed_s * passed_s / 3
            cov[:, i, i + 2] += grown * passed_s / 2
            cov[:, i + 2, i] += grown * passed_s / 2
            cov[:, i + 2, i + 2] += grown

    def update(
        self,
        which: np.ndarray,
        measured: np.ndarray,
        noise: np.ndarray,
        wander: float,
        velocity: np.ndarray,
        velocity_std: float,
        jump_std: float,
    ) -> None:
        """Measurements `[m, 2]` with covariances `[m, 2, 2]` of the filters `which` (indices `[m]`).

        Args:
            velocity_std: of what is measured for the first time, and is then taken to be at rest.
            jump_std: what lies further off than so many standard deviations is a jump.
        """
        means, cov = self.means[which], self.covariances[which]
        total = cov[:, :2, :2] + noise
        inverse = inverse_2x2(total)
        off = measured - means[:, :2]
        gain = cov[:, :, :2] @ inverse
        fresh_means = means + (gain @ off[:, :, None])[:, :, 0]
        fresh_cov = cov - gain @ cov[:, :2, :]
        distance = np.einsum("ni,nij,nj->n", off, inverse, off)
        # False too where nothing is known yet: all is NaN there.
        steady = distance <= jump_std * jump_std
        seats = np.flatnonzero(~steady)
        if len(seats):
            new = np.isnan(means[seats, 0])[:, None]
            fresh_means[seats, :2] = measured[seats]
            fresh_means[seats, 2:] = np.where(new, velocity, means[seats, 2:])
            sure = np.where(new[:, :, None], np.eye(2) * velocity_std**2, cov[seats, 2:, 2:] + np.eye(2) * wander**2)
            fresh_cov[seats] = 0.0
            fresh_cov[seats, :2, :2], fresh_cov[seats, 2:, 2:] = noise[seats], sure
        self.means[which], self.covariances[which] = fresh_means, fresh_cov


def inverse_2x2(matrices: np.ndarray) -> np.ndarray:
    """Of symmetric positive definite matrices float64 `[..., 2, 2]`."""
    a, b, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    out = np.empty_like(matrices)
    out[..., 0, 0], out[..., 1, 1] = d, a
    out[..., 0, 1] = out[..., 1, 0] = -b
    out /= (a * d - b * b)[..., None, None]
    return out
