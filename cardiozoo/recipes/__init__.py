"""The papers' hyper-parameters, one YAML file a pair: ``<model>/<data>.yaml``.

``<model>/<data>.<variant>.yaml`` states what differs and is laid over the recipe of the pair. A variant named like a
task is used when ``--data.task`` says so, ``synthetic`` when no store is given; others are asked for by name
(``--recipe medfuse/mimic_cxr_ehr.random_init``).
"""
