// Package network says what each network demands of a miner, as data: how a group's data
// is prepared, how an update is trained, stored, named, hashed and laid out, how long the
// training window is, and how validators choose rows and score.
//
// A [Profile] is one YAML file; the ones built in are in the profiles folder, named by
// network and source revision, with the source of each value. [Load] finds one by name or
// alias, [LoadFile] reads a user's own, so that a change of protocol needs no release.
// [Profile.Defaults] gives the values a plan may leave out.
//
// The networks' deterministic choices are functions: [H256Int], [CombinedSeed],
// [Selector], [NodeRows], [Interleave], [MixRows], [TokenWindow]. Their scoring arithmetic, with its quirks, is a
// [Scorer]; what a profile says decides only what a network would pay, never whether an
// update is good.
package network
