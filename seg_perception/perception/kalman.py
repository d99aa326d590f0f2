"""Many small Kalman filters at once, for what keeps its velocity: some along a line each, some in a plane each.

The velocity wanders: its variance grows by `wander`² per second (the continuous white-noise acceleration model;
Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 2001, section 6.2). What is
measured is the place. A measurement that no steady motion explains is a jump, of the part that is seen and not of the
thing: the place is then taken as measured, and the velocity stays what it was, as unsure as a second later.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LineFilters", "PlaneFilters", "inverse_2x2"]

_SAME, _AHEAD = np.eye(4), np.eye(4, k=2)


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
    def velocities(self) -> np.ndarray:
        """float64 `[k, t]`."""
        return self.state[1]

    @property
    def variances(self) -> np.ndarray:
        """float64 `[k, t]`, of the places."""
        return self.state[2]

    def start(
        self, places: np.ndarray, velocities: np.ndarray, place_std: np.ndarray, velocity_std: np.ndarray
    ) -> None:
        """n more filters; places, velocities and standard deviations `[k, n]`, or of a shape like it."""
        more = np.zeros((5, *places.shape))
        more[0], more[1], more[2], more[4] = places, velocities, place_std**2, velocity_std**2
        self.state = np.concatenate([self.state, more], axis=2)

    def restart(self, which: np.ndarray, velocities: np.ndarray, velocity_std: np.ndarray) -> None:
        """The filters `which` (indices `[m]`) keep their places alone; velocities `[k, m]`, of a deviation `[m]`."""
        self.state[1][:, which], self.state[3][:, which] = velocities, 0.0
        self.state[4][:, which] = velocity_std**2

    def keep(self, which: np.ndarray) -> None:
        """Drop all filters but these; bool `[t]` or indices."""
        self.state = self.state[:, :, which]

    def predict(self, passed_s: float, wander: np.ndarray) -> None:
        """Time passes; `wander` `[k, t]`: how much the velocity wanders in a second."""
        p, v, pp, pv, vv = self.state
        grown = wander * wander * passed_s
        p += passed_s * v
        pp += passed_s * (2 * pv + passed_s * (vv + grown / 3))
        pv += passed_s * (vv + grown / 2)
        vv += grown

    def update(
        self, which: np.ndarray, measured: np.ndarray, std: np.ndarray, wander: np.ndarray, jump_std: float
    ) -> None:
        """Measurements `[k, m]` of the filters `which` (indices `[m]`).

        Args:
            std: float64 `[k, m]`, of the measurements.
            wander: float64 `[k, m]`, as in `predict`.
            jump_std: what lies further off than so many standard deviations is a jump.
        """
        p, v, pp, pv, vv = old = self.state[:, :, which]
        noise = std * std
        total = pp + noise
        off = measured - p
        gain_p, gain_v = pp / total, pv / total
        new = np.empty_like(old)
        new[0], new[1] = p + gain_p * off, v + gain_v * off
        new[2], new[3], new[4] = gain_p * noise, pv - gain_p * pv, vv - gain_v * pv
        jumped = off * off > jump_std * jump_std * total
        if jumped.any():
            kinds, tracks = np.nonzero(jumped)
            new[:, kinds, tracks] = np.stack(
                [measured[kinds, tracks], v[kinds, tracks], noise[kinds,tracks], np.zeros(len(tracks)),
                 vv[kinds, tracks] + wander[kinds,tracks] ** 2]
            )  # fmt: skip
        self.state[:, :, which] = new


class PlaneFilters:
    """t filters of places in a plane; what is measured may be as long and narrow as it likes.

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

    @property
    def speed_variances(self) -> np.ndarray:
        """float64 `[t]`: of the velocity's less sure part, x or y; NaN where nothing was measured yet."""
        worst: np.ndarray = np.maximum(self.covariances[:, 2, 2], self.covariances[:, 3, 3])
        return worst

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
        t, grown = passed_s, wander * wander * passed_s
        move = _SAME + t * _AHEAD
        place, both = grown * t * t / 3, grown * t / 2
        added = [[place, 0, both, 0], [0, place, 0, both], [both, 0, grown, 0], [0, both, 0, grown]]
        self.means = self.means @ move.T
        self.covariances = move @ self.covariances @ move.T + np.array(added)

    def update(
        self, which: np.ndarray, measured: np.ndarray, noise: np.ndarray, wander: float, jump_std: float
    ) -> None:
        """Measurements `[m, 2]` with covariances `[m, 2, 2]` of the filters `which` (indices `[m]`), all known.

        Args:
            wander: as in `predict`.
            jump_std: what lies further off than so many standard deviations is a jump.
        """
        means, cov = self.means[which], self.covariances[which]
        inverse = inverse_2x2(cov[:, :2, :2] + noise)
        off = measured - means[:, :2]
        gain = cov[:, :, :2] @ inverse
        new_means = means + (gain @ off[:, :, None])[:, :, 0]
        new_cov = cov - gain @ cov[:, :2, :]
        distance = ((inverse @ off[:, :, None])[:, :, 0] * off).sum(axis=1)
        jumped = np.flatnonzero(distance > jump_std * jump_std)
        if len(jumped):
            new_means[jumped, :2], new_means[jumped, 2:] = measured[jumped], means[jumped, 2:]
            new_cov[jumped] = 0.0
            new_cov[jumped, :2, :2] = noise[jumped]
            new_cov[jumped, 2:, 2:] = cov[jumped, 2:, 2:] + np.eye(2) * wander**2
        self.means[which], self.covariances[which] = new_means, new_cov

    def seat(
        self, which: np.ndarray, measured: np.ndarray, noise: np.ndarray, velocity: np.ndarray, velocity_std: float
    ) -> None:
        """First measurements, as in `update`; the velocity `[2]` is what they may be expected to have."""
        self.means[which, :2], self.means[which, 2:] = measured, velocity
        self.covariances[which] = np.diag([0.0, 0.0, velocity_std**2, velocity_std**2])
        self.covariances[which, :2, :2] = noise


def inverse_2x2(matrices: np.ndarray) -> np.ndarray:
    """Of symmetric positive definite matrices float64 `[n, 2, 2]`."""
    a, b, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    out = np.empty_like(matrices)
    out[:, 0, 0], out[:, 1, 1] = d, a
    out[:, 0, 1] = out[:, 1, 0] = -b
    out /= (a * d - b * b)[:, None, None]
    return out
