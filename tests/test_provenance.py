from dycktune.provenance import provenance


def test_provenance_names_the_versions_that_ran():
    import torch
    import transformers

    versions = provenance()["versions"]
    assert versions["torch"] == torch.__version__
    assert versions["transformers"] == transformers.__version__
