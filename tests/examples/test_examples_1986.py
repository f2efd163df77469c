"""Two tasks of Rumelhart, Hinton and Williams 1986: mirror symmetry, and family trees."""

from __future__ import annotations

import numpy as np
from example_files import kernels, script


def test_symmetry_is_learned_with_weights_of_the_published_ratio():
    """Half the weights' differences as 1 : 2 : 4, and mirrored bits' weights of opposite sign, in both hidden units."""
    example = script("symmetry")
    learned = example.main()
    assert len(learned) >= 2
    for one in learned:
        np.testing.assert_array_equal(one.outputs > 0.5, [row == row[::-1] for row in example.X.tolist()])
        np.testing.assert_allclose(one.ratios, [[1, 1], [2, 2], [4, 4]], rtol=0.05)
        np.testing.assert_allclose(one.weights, -one.weights[::-1], atol=0.02)
        np.testing.assert_allclose(one.weights[:, 0], -one.weights[:, 1], atol=0.2)
        assert (one.biases < 0).all()


def test_symmetry_s_update_is_the_paper_s():
    """Δw(t) = -ε·∂E/∂w + α·Δw(t - 1)."""
    module, example = kernels("symmetry"), script("symmetry")
    descended, by_hand = module.initial_parameters(1), module.initial_parameters(1).astype(float)
    module.descend(descended, module.optimizer_state(), 5, x=example.X, y=example.Y)
    change = np.zeros_like(by_hand)
    for _ in range(5):
        change = 0.9 * change - 0.1 * module.loss_and_gradient(by_hand.astype(np.float32), example.X, example.Y)[1]
        by_hand += change
    np.testing.assert_allclose(descended, by_hand, atol=1e-5)


def test_the_cases_of_the_family_trees():
    example = script("family_trees")
    cases, persons, relations = example.cases(), example.PERSONS, example.RELATIONS
    assert len(persons) == 24 and len(relations) == 12
    assert len(cases) == 104 and sum(len(meant) == 2 for meant in cases.values()) == 8
    for (person, relation), meant in cases.items():  # the families are isomorphic
        assert cases[(person + 12) % 24, relation] == {(other + 12) % 24 for other in meant}

    def meant(person: str, relation: str) -> set[str]:
        return {persons[k] for k in cases.get((persons.index(person), relations.index(relation)), ())}

    assert meant("Colin", "aunt") == {"Jennifer", "Margaret"}
    assert meant("Charlotte", "uncle") == {"Arthur", "Charles"}
    assert meant("Victoria", "mother") == {"Penelope"}
    assert meant("Margaret", "niece") == {"Charlotte"}
    assert meant("Lucia", "son") == {"Alfonso"}
    assert meant("Margaret", "father") == set()


def test_family_trees_are_learned_and_some_of_what_was_held_out_is_right():
    example = script("family_trees")
    found = example.main(seeds=6)
    assert all(one.trained >= 90 for one in found)
    assert sum(one.held_out for one in found) >= 6  # of 24
    groups = np.mean([[shares.max() for shares in example.explained(one.codes).values()] for one in found], axis=0)
    drawn = [example.explained(np.random.default_rng(seed).uniform(-1, 1, (24, 6))) for seed in range(6)]
    by_chance = np.mean([[shares.max() for shares in one.values()] for one in drawn], axis=0)
    assert (groups >= by_chance + 0.2).all()  # nation, generation, branch
    assert groups[0] >= 0.6


def test_the_published_numbers_leave_family_trees_on_the_plateau():
    example, module = script("family_trees"), kernels("family_trees")
    assert [example.learn(module, seed, **example.PUBLISHED).trained for seed in range(3)] == [0, 0, 0]
