"""Parts that several passes share: conditions that follow from others, values that tensors hold, runs of scans."""
